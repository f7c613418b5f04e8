// Package archtest holds who may import whom, as tests.
package archtest
