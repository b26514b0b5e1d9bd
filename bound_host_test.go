package websms

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/testca"
)

// from is a browser whose handshake and Host header both name host.
func (w *world) from(host string) *browser {
	b := w.browser()
	b.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}}
	b.t.Cleanup(b.client.CloseIdleConnections)
	b.header.Set("Host", host)
	return b
}

// A message is bound to a host only if this Caddy can prove that it is its
// own: whoever asks chooses the name of the handshake and the Host header, and
// ignores the certificate.
func TestBoundHost(t *testing.T) {
	ca := testca.New(t)
	cert, key := ca.Files(t, x509.Certificate{DNSNames: []string{"loaded.example.test", "*.wild.example.test"}})
	long := strings.Repeat("a", 50) + ".site.example.test"
	for name, c := range map[string]struct {
		global, address, tls string
		want                 map[string]string // what a request for a host binds to
	}{
		"on demand": {
			global: "on_demand_tls {\n ask %APP%/ask\n}", address: "https://", tls: "tls internal {\n on_demand\n}",
			want: map[string]string{"evil.example": "", "localhost": "", "EVIL.example": ""},
		},
		"a certificate that was loaded": {
			address: "https://", tls: fmt.Sprintf("tls %s %s", cert, key),
			want: map[string]string{"loaded.example.test": "loaded.example.test", "LOADED.example.test": "loaded.example.test", "x.wild.example.test": "x.wild.example.test", "evil.example": "", "x.loaded.example.test": ""},
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
			w := start(t, setup{https: true})
			_, port, _ := strings.Cut(w.url, "://localhost:")
			var addresses []string
			for address := range strings.SplitSeq(c.address, ", ") {
				addresses = append(addresses, address+":"+port)
			}
			gate := plenty
			if strings.HasPrefix(name, "named") {
				gate += "\nweb_otp app.example.com"
			}
			plain := w.config
			w.config = func(options string) string {
				text := strings.Replace(plain(options), "\n"+w.url+" {", "\n"+strings.Join(addresses, ", ")+" {", 1)
				text = strings.Replace(text, "tls internal", c.tls, 1)
				return strings.Replace(text, "\tskip_install_trust\n", "\tskip_install_trust\n"+strings.ReplaceAll(c.global, "%APP%", w.app.URL)+"\n", 1)
			}
			if err := loadCaddyfile(w.config(gate)); err != nil {
				t.Fatal(err)
			}
			for host, want := range c.want {
				b := w.from(host)
				number := freshNumber()
				eventually(t, "the handshake for "+host, func() bool {
					res, err := b.client.Get(w.url + "/.websms/login")
					if err == nil {
						res.Body.Close()
					}
					return err == nil
				})
				wantStatus(t, host, b.request(number), http.StatusAccepted)
				w.codeFor(number, 1)
				if got := w.messagesTo(number)[0].WebOTPDomain; got != want {
					t.Errorf("a request for %s makes a message for %q; want %q", host, got, want)
				}
			}
		})
	}
}

// Until Caddy has started, no host is proven, and none that is no name ever.
func TestBoundHostBeforeTheStart(t *testing.T) {
	var none *boundHosts
	if none.proves("app.example.com") {
		t.Error("a host is proven before it can be known")
	}
	all := &boundHosts{site: []string{"app.example.com", "*.example.org", "*.nz"}, certified: func(host string) bool { return strings.HasPrefix(host, "c.") }}
	for host, want := range map[string]bool{
		"app.example.com": true, "a.example.org": true, "a.b.example.org": false, "example.org": false, "evil.nz": false, "c.example": true, "evil.example": false,
		"": false, "c.exa mple": false, "c." + strings.Repeat("a.", 40) + "nz": false, "[::1]": false,
	} {
		if got := all.proves(host); got != want {
			t.Errorf("%q is proven: %t", host, got)
		}
	}
}
