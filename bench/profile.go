package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// profileOperations let the harness profile a process while it is measured.
func profileOperations() map[string]operation {
	var cpu *os.File
	return map[string]operation{
		"profile": operationOf(func(file string) (any, error) {
			var err error
			if cpu, err = os.Create(file); err != nil {
				return nil, err
			}
			return nil, pprof.StartCPUProfile(cpu)
		}),
		"profile-over": operationOf(func(allocs string) (any, error) {
			pprof.StopCPUProfile()
			if err := cpu.Close(); err != nil {
				return nil, err
			}
			file, err := os.Create(allocs)
			if err != nil {
				return nil, err
			}
			defer file.Close() // what was not written is missing in the profile
			return nil, pprof.Lookup("allocs").WriteTo(file, 0)
		}),
	}
}

func withProfiles(operations map[string]operation) map[string]operation {
	maps.Copy(operations, profileOperations())
	return operations
}

// profileFile is where a profile of a process goes.
func (b *bench) profileFile(p *process, kind string) string {
	return filepath.Join(b.profiles, fmt.Sprintf("%s-%s-%s.%s.pprof", b.work, p.role.Contender, p.role.Kind, kind))
}

// profile begins a pair's profiles, if they are wanted.
func (b *bench) profile(p *pair) error {
	if b.profiles == "" {
		return nil
	}
	for _, one := range []*process{p.server, p.client} {
		if err := one.ask("profile", b.profileFile(one, "cpu"), nil); err != nil {
			return err
		}
		p.atStop = append(p.atStop, func() {
			if err := one.ask("profile-over", b.profileFile(one, "allocs"), nil); err != nil {
				fmt.Fprintln(b.progress, err)
			}
		})
	}
	return nil
}
