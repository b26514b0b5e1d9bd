package redistest

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"testing"

	"github.com/caddy-websms/websms/internal/testca"
)

// TLSRedis is a redis-server that accepts only TLS. Its certificate is for 127.0.0.1 and
// localhost, from an authority of the test. It accepts clients without a certificate. With
// the args "--tls-auth-clients", "yes" it refuses them.
type TLSRedis struct {
	*Redis
	// Paths of PEM files: the authority's certificate, and a client's
	// certificate and key.
	CAFile, CertFile, KeyFile string
}

// TLSServer starts a redis-server that accepts only TLS. args are as in Server.
func TLSServer(t testing.TB, args ...string) *TLSRedis {
	t.Helper()
	Need(t)
	ca := testca.New(t)
	s := &TLSRedis{CAFile: ca.File}
	serverCert, serverKey := ca.Files(t, x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	s.CertFile, s.KeyFile = ca.Files(t, x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	s.Redis = launch(t, &Redis{
		portArg: "--tls-port",
		args: append([]string{
			"--port", "0", "--tls-ca-cert-file", s.CAFile, "--tls-auth-clients", "optional",
			"--tls-cert-file", serverCert, "--tls-key-file", serverKey,
		}, args...),
		tls: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
	})
	return s
}
