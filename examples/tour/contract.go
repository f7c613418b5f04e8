// Package tour is the code that docs/writing-a-service.md and
// docs/writing-a-client.md quote: a service that hands work to agents and hears
// of its progress.
package tour

import (
	"time"

	"busd/schema"
)

// A Job is work for an agent.
type Job struct {
	ID       int64             `bus:"id,min=1" doc:"unique, counted from 1"`
	Command  []string          `bus:"command,minlen=1,maxlen=64"`
	Env      map[string]string `bus:"env,optional"`
	Deadline *time.Time        `bus:"deadline" doc:"none: it may take as long as it needs"`
	Priority string            `bus:"priority,enum=low|normal|high"`
}

// MessageName is the name on the wire.
func (Job) MessageName() string { return "Job" }

// Accepted answers a Job.
type Accepted struct {
	ID int64 `bus:"id"`
}

// MessageName is the name on the wire.
func (Accepted) MessageName() string { return "Accepted" }

// Progress says how far a job is.
type Progress struct {
	ID      int64    `bus:"id"`
	Percent int8     `bus:"percent,min=0,max=100"`
	Note    *string  `bus:"note"`
	Load    *float64 `bus:"load"`
}

// MessageName is the name on the wire.
func (Progress) MessageName() string { return "Progress" }

// Notice is for everybody, or for a group.
type Notice struct {
	Text string `bus:"text,maxlen=1000"`
}

// MessageName is the name on the wire.
func (Notice) MessageName() string { return "Notice" }

// Schema is the contract.
var Schema = schema.MustNew("Work/Jobs",
	schema.Of[Job](schema.FromService).WithDoc("is handed to an agent"),
	schema.Of[Accepted](schema.FromClient).WithDoc("answers a Job"),
	schema.Of[Progress](schema.FromClient).Latest("id").WithDoc("comes at least once a minute; only the newest of a job counts"),
	schema.Of[Notice](schema.FromService),
)
