// Package config reads what an operator says: a YAML file, the environment
// (BUSD_…) and flags, each going before the next the other way round: flags,
// environment, file, defaults.
//
// It is strict. An unknown key, a value of a wrong type, a number without its
// unit, a limit of 0 are faults; all of them are reported at once, each with
// its place and, where one is near, the word that was probably meant.
//
// The struct [Config] is the one table of keys: its tags name each key, its
// default, its bounds and what it is for. [Keys] returns that table, and the
// documentation is compared with it.
//
// It knows YAML and words. It opens no file but the configuration, and does
// not know what a listener or a service is.
package config
