package harness

import (
	"crypto/x509"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/internal/testca"
	"github.com/caddy-websms/websms/internal/testlevel"
)

// system returns the path of a program. It also looks where Debian installs servers, because the
// PATH of most users lacks that folder.
func system(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		if path, there := exec.LookPath("/usr/sbin/" + name); there == nil {
			return path, nil
		}
	}
	return path, err
}

// NginxProgram returns the path of nginx. Without nginx it skips the test, or fails it if nginx is
// required.
func NginxProgram(t *testing.T) string {
	t.Helper()
	path, err := system("nginx")
	testlevel.Need(t, "nginx", err)
	return path
}

// HAProxyProgram returns the path of HAProxy. Without HAProxy it skips the test, or fails it if
// haproxy is required.
func HAProxyProgram(t *testing.T) string {
	t.Helper()
	path, err := system("haproxy")
	testlevel.Need(t, "haproxy", err)
	return path
}

// NginxConfig returns a whole configuration of nginx from directives of its block http. Everything
// that nginx writes is in dir.
func NginxConfig(dir, http string) string {
	return fmt.Sprintf(`daemon off;
master_process off; # one process, which ends with the test
pid %[1]s/nginx.pid;
error_log stderr warn;
events {
	worker_connections 128;
}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[2]s
}
`, dir, http)
}

// BehindNginx runs an nginx in front of the world until the test ends. The nginx has a port of its
// own, and with https also a certificate. options are directives of its only location. BehindNginx
// returns a world that asks the nginx, which may get one more nginx in front.
func (w *World) BehindNginx(https bool, options string) *World {
	w.T.Helper()
	program := NginxProgram(w.T)
	dir, port := w.T.TempDir(), FreePort(w.T)
	scheme, tls := "http", ""
	if https {
		scheme = "https"
		cert, key := testca.New(w.T).Files(w.T, x509.Certificate{DNSNames: []string{"localhost"}})
		tls = fmt.Sprintf("ssl_certificate %q; ssl_certificate_key %q;", cert, key)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	server := fmt.Sprintf("server {\n listen %s%s;\n %s\n location / {\n proxy_pass %s;\n %s\n }\n}",
		listen, map[bool]string{true: " ssl"}[https], tls, w.URL, options)
	file := filepath.Join(dir, "nginx.conf")
	WriteFile(w.T, file, NginxConfig(dir, server))
	StartServer(w.T, exec.Command(program, "-p", dir, "-c", file), listen)
	there := *w
	there.URL = fmt.Sprintf("%s://localhost:%d", scheme, port)
	return &there
}

// StartServer runs a program until the test ends, and then kills it. It returns when the program
// accepts connections at address.
func StartServer(t *testing.T, cmd *exec.Cmd, address string) *process.Process {
	t.Helper()
	p, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return p
		}
		select {
		case <-p.Done():
			t.Fatalf("%s ended with %v; it wrote:\n%s", cmd.Path, p.Err(), p.Log())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen at %s; it wrote:\n%s", cmd.Path, address, p.Log())
		}
	}
}
