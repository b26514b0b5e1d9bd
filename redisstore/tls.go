package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"

	"github.com/caddy-websms/websms/internal/block"
)

// TLS has the options for encrypted connections. The store always verifies the
// server's certificate. Caddy reads the files when it loads the configuration.
type TLS struct {
	// A PEM file with the certificates of the authorities that may issue the server's
	// certificate. Default: the authorities of the system.
	CA string `json:"ca,omitempty"`

	// A PEM file with this client's certificate, for servers that ask for one.
	Cert string `json:"cert,omitempty"`

	// A PEM file with the private key of that certificate.
	Key string `json:"key,omitempty"`

	// The name that the server's certificate must have. Default: the host in the
	// address of the server. The nodes of a cluster announce their own addresses to
	// clients, and these are often IP addresses.
	ServerName string `json:"server_name,omitempty"`
}

func (c *TLS) check() error {
	switch {
	case c.Cert != "" && c.Key == "":
		return block.Wrongf("cert", "stands without key: add the file with its private key")
	case c.Key != "" && c.Cert == "":
		return block.Wrongf("key", "stands without cert: add the file with its certificate")
	case c.ServerName != "" && !placeholder.MatchString(c.ServerName) && !isHost(c.ServerName):
		return block.Wrongf("server_name", "is %q: give the name in the server's certificate, such as redis.example.com", c.ServerName)
	}
	return nil
}

// load returns the TLS configuration. It writes the content of the files to sum.
func (c *TLS) load(sum io.Writer) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	read := func(option, path string) ([]byte, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, block.Wrongf(option, "cannot be read: %v: name a PEM file that Caddy may read", err)
		}
		_, err = sum.Write(append([]byte("\x00"+option+"\x00"), data...))
		return data, err
	}
	if c.CA != "" {
		data, err := read("ca", c.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, block.Wrongf("ca", "holds no certificate: name a PEM file that does")
		}
	}
	if c.Cert != "" {
		cert, err := read("cert", c.Cert)
		if err != nil {
			return nil, err
		}
		key, err := read("key", c.Key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, block.Wrongf("cert", "and key do not make a pair: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	_, err := io.WriteString(sum, "\x00tls\x00"+c.ServerName)
	return config, err
}
