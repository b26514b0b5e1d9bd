package harness

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

// Wire is a reply as it came over the wire. No client has changed its header.
type Wire struct {
	Status int      // 0: there was no reply
	Fields []string // the field lines, without their ends
	Body   string
}

// Field returns the values of a field, by a name in any case.
func (r Wire) Field(name string) []string {
	var values []string
	for _, line := range r.Fields {
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// Exchange sends bytes on a new connection, and returns the first reply. There is none if
// the connection is cut.
func (w *World) Exchange(request string) Wire {
	w.T.Helper()
	u, err := url.Parse(w.URL)
	if err != nil {
		w.T.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		w.T.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, request) // after an early refusal, the server may close the connection
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
		return Wire{status, lines[1:], string(body)}
	}
	return Wire{}
}

// complete reports whether a reply is complete by its own length.
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

// RawHTTP2 sends one request over HTTP/2, and returns the reply. fields holds name, value,
// name, value. RawHTTP2 sends them unchanged, as no client of the library would. There is
// no reply if the stream or the connection is reset.
func (w *World) RawHTTP2(method, path string, fields ...string) Wire {
	w.T.Helper()
	address := strings.TrimPrefix(w.URL, "https://")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		w.T.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	all := append([]string{":method", method, ":scheme", "https", ":authority", address, ":path", path}, fields...)
	for i := 0; i+1 < len(all); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}); err != nil {
			w.T.Fatal(err)
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
		w.T.Fatal(err)
	}
	var reply Wire
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return Wire{}
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			reply.Status, _ = strconv.Atoi(frame.PseudoValue("status"))
			for _, f := range frame.RegularFields() {
				reply.Fields = append(reply.Fields, f.Name+": "+f.Value)
			}
		case *http2.DataFrame:
			reply.Body += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return reply
		}
		if frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return reply
		}
	}
}

// LoadServer makes Caddy run the world with options of the server that a Caddyfile cannot
// have.
func (w *World) LoadServer(gateOptions string, options map[string]any) {
	w.T.Helper()
	text, err := Adapt(w.Config(gateOptions))
	if err != nil {
		w.T.Fatal(err)
	}
	var config struct {
		Admin   any            `json:"admin"`
		Logging any            `json:"logging"`
		Storage any            `json:"storage"`
		Apps    map[string]any `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		w.T.Fatal(err)
	}
	for _, server := range config.Apps["http"].(map[string]any)["servers"].(map[string]any) {
		for name, value := range options {
			server.(map[string]any)[name] = value
		}
	}
	if err := caddy.Load(caddyconfig.JSON(config, nil), true); err != nil {
		w.T.Fatalf("loading: %v", err)
	}
	w.AwaitReload()
}

// WantUnreached checks that the app has seen no request more than this number.
func (w *World) WantUnreached(t *testing.T, what string, before int) {
	t.Helper()
	if seen := w.App.Seen(); len(seen) != before {
		t.Errorf("%s: the app was asked for %s", what, seen[before].Method+" "+seen[before].URI)
	}
}
