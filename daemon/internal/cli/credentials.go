package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// devDir is where development certificates are; devClient is whose are used
// when nothing else is said.
const (
	devDir    = ".busd"
	devClient = "alice"
)

const environment = `Variables that the commands read which connect to a service:

  BUSD_URL     where services are that are given by their name alone
               (default: wss://localhost:8443)
  BUSD_CERT    the certificate to show, a PEM file
  BUSD_KEY     its key
  BUSD_CA      the CAs that may have signed the server's certificate; several
               files are separated as in PATH
  BUSD_TOKEN_FILE  a file with a bearer token that "busd call" shows instead of
               a certificate

Flags go first, then these variables, then the development directory:
.busd/client-alice.crt, .busd/client-alice.key and .busd/ca.crt.

"busd drain" reads

  BUSD_ADMIN__ADDRESS   where the server's admin listener is, as --admin

Whatever writes to a terminal reads

  NO_COLOR     if it is set to anything, no colours

"busd serve" reads

  BUSD_CONFIG    the configuration, as --config
  BUSD_LISTEN    where to listen for agents, as --listen
  BUSD_SERVICES  which services to serve, as --services

and each key of the configuration as BUSD_ and its name in capitals, with two
underscores for a dot: BUSD_ADMIN__ADDRESS is admin.address.`

// credentials say which files prove who we are, and whom to believe.
type credentials struct {
	cert, key string
	ca        []string
}

func (c *credentials) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.cert, "cert", "", "the certificate to show, a PEM file; it may hold the key, too (default: BUSD_CERT, or .busd/client-alice.crt)")
	cmd.Flags().StringVar(&c.key, "key", "", "its key (default: BUSD_KEY, or .busd/client-alice.key)")
	cmd.Flags().StringArrayVar(&c.ca, "ca", nil, "a CA that may have signed the server's certificate, or a directory of CAs (default: BUSD_CA, or .busd/ca.crt, or the system's)")
}

// complete fills in what no flag said, and refuses files that do not exist. If it
// is optional there need not be any certificate.
func (c *credentials) complete(env func(string) string, optional bool) error {
	if err := c.completeCA(env); err != nil {
		return err
	}
	if err := c.choose(env, optional); err != nil || c.cert == "" {
		return err
	}
	return there(c.cert, c.key)
}

// choose fills in which certificate and key are shown.
func (c *credentials) choose(env func(string) string, optional bool) error {
	cert, key := "BUSD_CERT", "BUSD_KEY"
	switch {
	case c.cert != "" || c.key != "":
		cert, key = "--cert", "--key"
	case env(cert) != "" || env(key) != "":
		c.cert, c.key = env(cert), env(key)
	default:
		return c.development(optional)
	}
	if c.key == "" && holdsKey(c.cert) {
		c.key = c.cert
	}
	switch {
	case c.key == "":
		return usage("", "%s %s needs its key: %s is missing", cert, c.cert, key)
	case c.cert == "":
		return usage("", "%s %s needs its certificate: %s is missing", key, c.key, cert)
	}
	return nil
}

// completeCA fills in whom to believe, and refuses files that do not exist.
func (c *credentials) completeCA(env func(string) string) error {
	c.chooseCA(env)
	return there(c.ca...)
}

// chooseCA fills in whom to believe.
func (c *credentials) chooseCA(env func(string) string) {
	if len(c.ca) == 0 {
		c.ca = filepath.SplitList(env("BUSD_CA"))
	}
	devCA := filepath.Join(devDir, "ca.crt")
	if len(c.ca) == 0 && exists(devCA) {
		c.ca = []string{devCA}
	}
}

// holdsKey tells whether the certificate's key is in the same file, as in that of a
// proxy certificate.
func holdsKey(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && bytes.Contains(data, []byte("PRIVATE KEY-----"))
}

// there refuses files that do not exist.
func there(paths ...string) error {
	for _, path := range paths {
		if !exists(path) {
			return unreadable(path, fs.ErrNotExist)
		}
	}
	return nil
}

func (c *credentials) development(optional bool) error {
	cert, key := filepath.Join(devDir, "client-"+devClient+".crt"), filepath.Join(devDir, "client-"+devClient+".key")
	if exists(cert) || !optional {
		c.cert, c.key = cert, key
	}
	if exists(cert) || optional {
		return nil
	}
	return &fault{
		what: "there is no certificate to show: nobody may connect without one",
		details: []detail{
			{"looked at", "--cert and --key, BUSD_CERT and BUSD_KEY, " + c.cert},
		},
		try: []string{
			"busd serve --dev                  makes ./" + devDir + " and serves",
			"busd pki init && busd pki issue client " + devClient,
		},
		exit: exitAuth,
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
