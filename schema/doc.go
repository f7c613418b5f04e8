// Package schema says what a message is: its name, who may send it, its
// attributes, their types and constraints. A [Schema] is the contract of one
// service.
//
// It knows no connections, no bytes and no files, so a message can be checked
// where there is no connection: in CI, in an editor, in another program.
package schema
