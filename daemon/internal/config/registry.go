package config

import "net/netip"

// Auth says by what beside TLS certificates somebody can show who he is.
type Auth struct {
	Proxies        string         `key:"proxies" default:"off" words:"off|accept" doc:"accept: X.509 proxy certificates (RFC 3820) count as the certificate of their user"`
	TrustedProxies []netip.Prefix `key:"trusted_proxies" default:"[]" doc:"networks and addresses of TLS proxies, whose word is taken for the certificate that their client has shown; whoever comes from there is somebody by that, or by a token, and by no certificate of his own; chains of proxy certificates need a larger limits.header_size (48KiB for the longest)"`
	Tokens         []Tokens       `key:"tokens" default:"[]"`
}

// Tokens are the bearer tokens (JWT) of one issuer.
type Tokens struct {
	Issuer     string   `key:"issuer" doc:"whose tokens these are: the claim iss"`
	JWKS       []string `key:"jwks" form:"file" doc:"JWK set files with the issuer's public keys"`
	Audience   []string `key:"audience" doc:"whom a token must be for: one of these in the claim aud"`
	Algorithms []string `key:"algorithms" default:"[]" words:"RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|ES512|EdDSA" doc:"how tokens may be signed; [] is all of these"`
	GroupClaim string   `key:"group_claim" default:"\"\"" doc:"the claim that names the group to act in; empty is none: the user's default, or what he asks for"`
}

// Access is the registry: who is who. Without any user, host and group everybody
// whose credential is good is known.
type Access struct {
	Users         []User   `key:"users"`
	Hosts         []Host   `key:"hosts"`
	Groups        []Group  `key:"groups" order:"yes" live:"yes"`
	DefaultGroups []string `key:"default_groups" default:"[]" live:"yes" doc:"the groups that somebody who asks for none acts in: the first that he is in, else the first of groups"`
}

// User is a person.
type User struct {
	Name      string   `key:"*"`
	DN        []string `key:"dn" default:"[]" live:"yes" doc:"subjects of the user's certificates, such as /C=ch/O=CERN/CN=alice"`
	Peers     []string `key:"peers" default:"[]" live:"yes" doc:"names of the user's certificates, as tls.peer_name makes them, such as dns:alice"`
	Tokens    []string `key:"tokens" default:"[]" live:"yes" doc:"the user's tokens: subject@issuer"`
	Suspended []string `key:"suspended" default:"[]" live:"yes" doc:"the virtual organisations in which the user may do nothing but what everybody may; all is all of them"`
}

// Host is a machine.
type Host struct {
	Name       string   `key:"*"`
	DN         []string `key:"dn" default:"[]" live:"yes" doc:"subjects of the host's certificates"`
	Peers      []string `key:"peers" default:"[]" live:"yes" doc:"names of the host's certificates, such as dns:node-1.example.org"`
	Properties []string `key:"properties" default:"[]" live:"yes" doc:"what the host may do; TrustedHost: ask in the name of users"`
}

// Group is what users act in.
type Group struct {
	Name       string   `key:"*"`
	Users      []string `key:"users" default:"[]" live:"yes" doc:"the names of who is in it"`
	Properties []string `key:"properties" default:"[]" live:"yes" doc:"what its users may do, by the words that rules ask for"`
	VO         string   `key:"vo" default:"\"\"" live:"yes" doc:"its virtual organisation; empty is none"`
}

// Empty tells whether nothing is registered.
func (a *Access) Empty() bool {
	return len(a.Users) == 0 && len(a.Hosts) == 0 && len(a.Groups) == 0 && len(a.DefaultGroups) == 0
}

// Empty tells whether nothing is said.
func (a *ServiceAccess) Empty() bool {
	return len(a.Default) == 0 && len(a.Connect) == 0 && len(a.Messages) == 0 && len(a.Methods) == 0
}
