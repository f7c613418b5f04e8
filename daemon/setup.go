package daemon

import (
	"net/http"
	"runtime/debug"
	"time"

	"busd/access"
	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/msgbus"
	"busd/rpc"
)

// load reads the configuration that the command line, the environment and the
// file make together.
func (p *program) load(o cli.ServeOptions) (*config.Config, []string, error) {
	c, warnings, err := config.Load(config.Options{
		File: o.ConfigFile, Environ: p.environ, Listen: o.Listen, Only: o.Services, Services: p.names(), Dev: o.Dev,
	})
	if err != nil {
		return nil, nil, err
	}
	if o.Debug {
		c.Log.Level = "debug"
	}
	if o.Dev && (c.TLS.Certificate != "" || c.TLS.SessionTickets != "") {
		warnings = append(warnings, "the files under tls are not used: development mode makes its own")
	}
	return c, warnings, nil
}

// enabled returns the services that are to be served, with what the operator
// says of them.
func (p *program) enabled(c *config.Config) ([]*msgbus.Service, error) {
	var (
		services []*msgbus.Service
		faults   []*config.Fault
	)
	for _, svc := range p.services {
		said := c.Services[svc.Name()]
		if !said.Enabled {
			continue
		}
		services = append(services, svc)
		if said.MaxConnections > 0 {
			svc.MaxConns = said.MaxConnections
		}
		if said.MaxMessage > 0 {
			svc.MaxMessage = int(said.MaxMessage)
		}
		if said.Credit > 0 {
			svc.Credit = int(said.Credit)
		}
		if said.KeepOnError != nil {
			svc.KeepOnError = *said.KeepOnError
		}
		if said.Window != nil {
			svc.Window = windowOf(*said.Window)
		}
		if f := boundMethods(c, svc, said.Methods); f != nil {
			faults = append(faults, f)
		}
		credit := svc.Credit
		if credit == 0 {
			credit = msgbus.DefaultCredit
		}
		if svc.MaxMessage > credit/4 {
			faults = append(faults, c.Fault("services."+svc.Name(), "max_message (%s) is more than a quarter of credit (%s)",
				config.Size(svc.MaxMessage), config.Size(credit)))
		}
	}
	if faults != nil {
		return nil, &config.Error{Faults: faults}
	}
	return services, nil
}

// boundMethods puts the bounds that an operator sets in force for a service's
// methods.
func boundMethods(c *config.Config, svc *msgbus.Service, said config.ServiceMethods) *config.Fault {
	if said == (config.ServiceMethods{}) {
		return nil
	}
	m, ok := svc.Methods.(*rpc.Service)
	if !ok {
		return c.Fault("services."+svc.Name()+".methods", "the service has no methods")
	}
	if said.MaxBody > 0 {
		m.MaxBody = int64(said.MaxBody)
	}
	if said.MaxConcurrent > 0 {
		m.MaxConcurrent = said.MaxConcurrent
	}
	if said.Timeout > 0 {
		m.Timeout = said.Timeout
	}
	return nil
}

// windowOf is what an operator says of a service's window as the service takes
// it: there 0 is the default, and less is none.
func windowOf(said time.Duration) time.Duration {
	if said == 0 {
		return -1
	}
	return said
}

// identification says who is who: for both buses alike.
type identification struct {
	access       *access.Policy
	authenticate func(*http.Request) (access.Caller, *bus.Error)
}

// newMethods readies the methods of the services, which take no calls while busy
// says so; nil: there are none.
func newMethods(c *config.Config, logs *logs, id identification, busy func() bool, services []*msgbus.Service) (*rpc.Server, error) {
	var methods []*rpc.Service
	for _, svc := range services {
		if m, ok := svc.Methods.(*rpc.Service); ok {
			if m.Version == "" && !hasVersion() {
				m.Version = cli.Version // as busd version says
			}
			methods = append(methods, m)
		}
	}
	if methods == nil {
		return nil, nil //nolint:nilnil // as it says
	}
	s, err := rpc.NewServer(rpc.Config{Logger: logs.Logger, Access: id.access, Authenticate: id.authenticate, Origins: c.Origins, Busy: busy}, methods...)
	return s, mistake(err)
}

// hasVersion tells whether the program's module has a version, which ping then says.
func hasVersion() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && info.Main.Version != "" && info.Main.Version != "(devel)"
}

// newBus makes the bus of the services, whose methods are ready.
func newBus(c *config.Config, logs *logs, id identification, services []*msgbus.Service) (*msgbus.Server, error) {
	b, err := msgbus.NewServer(msgbus.Config{
		Logger:           logs.Logger,
		Node:             c.Node.Name,
		PeerName:         c.TLS.PeerName,
		Access:           id.access,
		Authenticate:     id.authenticate,
		Origins:          c.Origins,
		MaxConns:         c.Limits.Connections,
		MaxConnsPerPeer:  c.Limits.ConnectionsPerPeer,
		MaxSessionMemory: int(c.Limits.SessionMemory),
		KeepAlive:        c.KeepAlive.Interval,
		Idle:             c.KeepAlive.Idle,
		HelloTimeout:     c.Timeouts.Hello,
	}, services...)
	return b, mistake(err)
}

// mistake makes an internal error of what is wrong with the services themselves:
// it is the fault of this program, and of nobody who runs it. What a service's
// Init returns stays as it is.
func mistake(err error) error {
	if e, own := err.(*bus.Error); own { //nolint:errorlint // Init's are wrapped
		return bus.Wrap(bus.CodeInternal, err, e.Reason)
	}
	return err
}
