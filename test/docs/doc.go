// Package docs keeps the documents true: what they quote is code that the
// tests run, and what they link to exists.
package docs
