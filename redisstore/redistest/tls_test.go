package redistest_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/caddy-websms/websms/redisstore/redistest"
)

func TestTLSServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args      []string
		anonymous bool // whether a client without a certificate is let in
	}{
		"a client's certificate is optional": {nil, true},
		"a client's certificate is required": {[]string{"--tls-auth-clients", "yes"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.TLSServer(t, c.args...)
			if got := s.Do("ECHO", "hello"); got != "hello" {
				t.Errorf("to ECHO it says %v", got)
			}
			ca, err := os.ReadFile(s.CAFile)
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(ca) {
				t.Fatal("there is no certificate in the authority's file")
			}
			pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := pingTLS(s.Addr(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}); err != nil {
				t.Errorf("with the client's certificate: %v", err)
			}
			if err := pingTLS(s.Addr(), &tls.Config{RootCAs: pool}); (err == nil) != c.anonymous {
				t.Errorf("without a client's certificate: %v", err)
			}
			if err := pingTLS(s.Addr(), &tls.Config{}); err == nil {
				t.Error("the server's certificate is one that everybody trusts")
			}
			if plain, err := net.Dial("tcp", s.Addr()); err != nil {
				t.Error(err)
			} else if err := ping(plain); err == nil {
				t.Error("it speaks without TLS")
			}
		})
	}
}

func pingTLS(addr string, config *tls.Config) error {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	return ping(c)
}

// ping asks once, and closes the connection.
func ping(c net.Conn) error {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(c, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "+PONG\r\n" {
		err = fmt.Errorf("the answer is %q", line)
	}
	return err
}
