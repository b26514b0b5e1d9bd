package websms_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
)

// fromHost returns a browser whose TLS handshake and Host header both name host.
func fromHost(w *harness.World, host string) *harness.Browser {
	b := w.Browser()
	b.Client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}}
	b.T.Cleanup(b.Client.CloseIdleConnections)
	b.Header.Set("Host", host)
	return b
}

// A message is bound to a host only if this Caddy can prove that the host is its own. A client
// chooses the names in the handshake and in the Host header, and may ignore the certificate.
func TestBoundHost(t *testing.T) {
	ca := testca.New(t)
	cert, key := ca.Files(t, x509.Certificate{DNSNames: []string{"loaded.example.test", "*.wild.example.test"}})
	long := strings.Repeat("a", 50) + ".site.example.test"
	for name, c := range map[string]struct {
		global, address, tls string
		want                 map[string]string // the host that a request for each host binds to
	}{
		"on demand": {
			global: "on_demand_tls {\n ask %APP%/ask\n}", address: "https://", tls: "tls internal {\n on_demand\n}",
			want: map[string]string{"evil.example": "", "localhost": "", "EVIL.example": ""},
		},
		"a certificate that was loaded": {
			address: "https://", tls: fmt.Sprintf("tls %s %s", cert, key),
			want: map[string]string{"loaded.example.test": "loaded.example.test", "LOADED.example.test": "loaded.example.test",
				"x.wild.example.test": "x.wild.example.test", "evil.example": "", "x.loaded.example.test": ""},
		},
		"a wildcard of the address": {
			address: "https://*.site.example.test", tls: "tls internal",
			want: map[string]string{"app.site.example.test": "app.site.example.test", long: ""},
		},
		"names of the address": {
			address: "https://one.example.test, https://two.example.test", tls: "tls internal",
			want: map[string]string{"one.example.test": "one.example.test", "two.example.test": "two.example.test"},
		},
		"named, whatever is asked for": {
			global: "on_demand_tls {\n ask %APP%/ask\n}", address: "https://", tls: "tls internal {\n on_demand\n}\nvars x y",
			want: map[string]string{"evil.example": "app.example.com"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{HTTPS: true})
			_, port, _ := strings.Cut(w.URL, "://localhost:")
			var addresses []string
			for address := range strings.SplitSeq(c.address, ", ") {
				addresses = append(addresses, address+":"+port)
			}
			gate := harness.Plenty
			if strings.HasPrefix(name, "named") {
				gate += "\nweb_otp app.example.com"
			}
			plain := w.Config
			w.Config = func(options string) string {
				text := strings.Replace(plain(options), "\n"+w.URL+" {", "\n"+strings.Join(addresses, ", ")+" {", 1)
				text = strings.Replace(text, "tls internal", c.tls, 1)
				return strings.Replace(text, "\tskip_install_trust\n",
					"\tskip_install_trust\n"+strings.ReplaceAll(c.global, "%APP%", w.App.URL)+"\n", 1)
			}
			w.Load(gate)
			for host, want := range c.want {
				b := fromHost(w, host)
				number := harness.FreshNumber()
				harness.Eventually(t, "the handshake for "+host, func() bool {
					res, err := b.Client.Get(w.URL + "/.websms/login")
					if err == nil {
						res.Body.Close()
					}
					return err == nil
				})
				harness.WantStatus(t, host, b.Request(number), http.StatusAccepted)
				w.CodeFor(number, 1)
				if got := w.MessagesTo(number)[0].WebOTPDomain; got != want {
					t.Errorf("a request for %s makes a message for %q; want %q", host, got, want)
				}
			}
		})
	}
}
