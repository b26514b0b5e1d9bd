package websms

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wire is a reply as it came over the wire, its head not tidied by any client.
type wire struct {
	status int      // 0: there was no reply
	fields []string // the field lines, without their ends
	body   string
}

// field returns the values of a field, by a name in any case.
func (r wire) field(name string) []string {
	var values []string
	for _, line := range r.fields {
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// exchange sends bytes on a connection of their own, and returns the first
// reply to them: none, if the connection is cut.
func (w *world) exchange(request string) wire {
	w.t.Helper()
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, request) // who is refused early is cut off early
	var got []byte
	for buf := make([]byte, 4096); !complete(got); {
		n, err := conn.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			break
		}
	}
	head, body, found := bytes.Cut(got, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	if _, after, ok := strings.Cut(lines[0], " "); ok && found && strings.HasPrefix(lines[0], "HTTP/1.") {
		status, _ := strconv.Atoi(after[:min(3, len(after))])
		return wire{status, lines[1:], string(body)}
	}
	return wire{}
}

// complete reports whether a reply is, as far as its own length tells.
func complete(reply []byte) bool {
	head, body, found := bytes.Cut(reply, []byte("\r\n\r\n"))
	if !found {
		return false
	}
	for line := range strings.Lines(string(head)) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			length, err := strconv.Atoi(strings.TrimSpace(value))
			return err == nil && len(body) >= length
		}
	}
	return bytes.HasSuffix(body, []byte("0\r\n\r\n"))
}

// rawHTTP2 sends one request over HTTP/2 with the field lines as they are,
// name, value, name, value, which no client of the library would send, and
// returns the reply: none, if the stream or the connection is reset.
func (w *world) rawHTTP2(method, path string, fields ...string) wire {
	w.t.Helper()
	address := strings.TrimPrefix(w.url, "https://")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	all := append([]string{":method", method, ":scheme", "https", ":authority", address, ":path", path}, fields...)
	for i := 0; i+1 < len(all); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}); err != nil {
			w.t.Fatal(err)
		}
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err == nil {
		err = framer.WriteSettings()
	}
	if err == nil {
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var reply wire
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return wire{}
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			reply.status, _ = strconv.Atoi(frame.PseudoValue("status"))
			for _, f := range frame.RegularFields() {
				reply.fields = append(reply.fields, f.Name+": "+f.Value)
			}
		case *http2.DataFrame:
			reply.body += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return reply
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return reply
		}
	}
}

// loadServer makes Caddy run the world with options of the server that no
// Caddyfile can give.
func (w *world) loadServer(gateOptions string, options map[string]any) {
	w.t.Helper()
	text, err := adapt(w.config(gateOptions))
	if err != nil {
		w.t.Fatal(err)
	}
	var config struct {
		Admin   any            `json:"admin"`
		Logging any            `json:"logging"`
		Storage any            `json:"storage"`
		Apps    map[string]any `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		w.t.Fatal(err)
	}
	for _, server := range config.Apps["http"].(map[string]any)["servers"].(map[string]any) {
		for name, value := range options {
			server.(map[string]any)[name] = value
		}
	}
	if err := caddy.Load(caddyconfig.JSON(config, nil), true); err != nil {
		w.t.Fatalf("loading: %v", err)
	}
	w.awaitReload()
}

// wantUnreached checks that no request has reached the app since it had seen so many.
func (w *world) wantUnreached(t *testing.T, what string, before int) {
	t.Helper()
	if seen := w.app.seen(); len(seen) != before {
		t.Errorf("%s: the app was asked for %s", what, seen[before].Method+" "+seen[before].URI)
	}
}
