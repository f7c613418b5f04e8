// Package fault holds the tests of busd itself under faults: built servers,
// clients over real sockets, and lines, machines and processes that fail. Its
// tests expect of all of them that nothing is lost or doubled that was not told to
// be, and check, before they believe it, that the fault did happen.
//
// The tools are in the packages below it; package ledger is the service that writes
// down what it has handled. Some tests need root, nft or control groups, and skip
// without them. What is as large as its original only takes minutes: it is so if
// BUSD_SOAK is set, and smaller otherwise.
//
// Which fault is shown where; "." is this package:
//
//	a reset in the middle of a message       . TestRandomCuts
//	an end of stream without a goodbye       . TestRandomCuts
//	the peer's machine is gone               . TestDeadLines
//	only one direction carries               . TestDeadLines
//	latency, jitter and slices               . TestBadLines
//	a fifth of all packets is lost           . TestPacketLoss
//	8 kB a second                            . TestBadLines
//	every write is split into single bytes   . TestBadLines
//	a byte is corrupted                      . TestCorruptedBytes
//	a cut at every byte                      internal/link TestCutAtEveryByte
//	a cut at random bytes, in greetings too  . TestRandomCuts
//	a reader that is slow for long           . TestSlowReader
//	two connections of one identity          msgbus TestMovesAreNotNoticed
//	an ack is lost                           . TestRandomCuts, internal/link TestManyCuts
//	an answer is lost                        . TestRandomCuts, internal/link TestWaitersOutliveACut
//	kill -9 with everything in flight        . TestKilledServer
//	kill -9 at random moments                . TestKilledAgainAndAgain
//	kill -9 while it starts                  . TestKilledServer
//	SIGTERM, with another server             . TestDrainToAnother
//	SIGTERM, alone, and started again        . TestDrainAndRestart, daemon TestGracefulStop
//	SIGSTOP of a server for 2 s, twice       . TestServerPausesShortly
//	SIGSTOP of a server for long             . TestServerPausesForLong
//	SIGSTOP of a client                      . TestClientPauses
//	a storm of clients that come back        . TestKilledServer, test/storm TestKilledServer
//	a storm of clients at a full server      test/storm TestFullServer
//	no more open files                       . TestNoMoreFiles
//	a memory limit, with slow consumers      . TestSlowOnesAmongMany
//	memory runs short, for slow consumers    . TestMemoryRunsShort
//	memory of connections                    daemon/internal/hostile TestMemoryOfConnections
//	a tenth of a core                        . TestLittleCPU
//	back while the old line looks alive      . TestDeadLines, msgbus TestResumeWhileTheOldLineLooksAlive
//	two clones of one identity               msgbus TestNewerSupersedesOlder, msgbus TestThreeConnectionsOfOneIdentityAtOnce
//	two who bring one token                  msgbus TestTwoWithTheSameToken
//	a spent token                            msgbus TestSpentToken
//	a handler that panics                    msgbus TestErrorRule, internal/link TestGoexit
//	a callback that panics                   msgbus TestOnDropPanics, msgclient TestCallbacksPanic
//	a handler that hangs                     msgbus TestSupersedeWaitsFiveSeconds, msgbus TestShutdownWithHungHandlers
//	OnConnect refuses, or hangs              msgbus TestOnConnectRefuses, msgbus TestOnConnectHangs
//	a broadcast with dead receivers          . TestSlowOnesAmongMany, msgbus TestBroadcastWithOneStalled
//	a large message among small ones         . TestLargeAmongSmall
//	a log that nobody reads                  . TestBlockedLog, daemon TestLogNobodyReads
package fault
