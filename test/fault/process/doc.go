// Package process runs built programs for fault tests, "busd serve" above all,
// and stops, continues, kills and starts them again: as a machine does that
// hibernates, runs out of memory or is switched off and on.
//
//	func TestMain(m *testing.M) { process.Main(m) }
//
//	s := process.Serve(t, process.ServerConfig{})  // is ready
//	cert, key, ca := s.Credentials("alice")        // to connect to s.URL("Framework/PingPong")
//	err := s.Pause()                               // SIGSTOP; s.Continue()
//	err = s.Kill()                                 // SIGKILL
//	err = s.Restart(ctx)                           // at the same address, with the same files
//
// A [Process] is any program, such as "busd listen"; a [Server] is a busd that
// serves, over its restarts. What takes a testing.TB fails the test and must be
// called from its goroutine; all methods return errors and may be called from
// any.
//
// It needs Linux, whose /proc says whether a signal has taken effect. It knows
// no messages and no connections.
package process
