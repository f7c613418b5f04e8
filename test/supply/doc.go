// Package supply holds what shows what a busd is made of: sbom writes the list of its
// parts.
package supply
