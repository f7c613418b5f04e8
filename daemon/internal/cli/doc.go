// Package cli is busd's command line: commands, what they print, and exit
// codes.
//
// Data goes to standard output and everything else to standard error. It knows
// how to be a client of a bus and how to make certificates; serving is given to
// it as [Actions].
package cli
