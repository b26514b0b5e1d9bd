package connexus

import (
	"crypto/tls"
	"testing"
)

// The settings of the transport are tested from inside, because a test from outside
// would need certificates of a real authority.
func TestOwnTransport(t *testing.T) {
	c, err := New(Config{ClientID: "cid", ClientSecret: "csk"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tr := c.ownTransport
	if c.http.Transport != (noRedirects{tr}) || tr.TLSClientConfig.MinVersion != tls.VersionTLS12 || tr.TLSClientConfig.InsecureSkipVerify {
		t.Error("the transport takes TLS under 1.2 or any certificate")
	}
	if tr.Proxy == nil {
		t.Error("the transport does not heed the environment's proxies")
	}
	if tr.MaxIdleConnsPerHost != tr.MaxIdleConns || tr.MaxConnsPerHost != 0 {
		t.Error("the transport is not sized for many messages to one host")
	}
	if !tr.Protocols.HTTP1() || tr.Protocols.HTTP2() || tr.Protocols.UnencryptedHTTP2() {
		t.Errorf("the transport speaks %v", tr.Protocols)
	}
	if c.base != DefaultBaseURL || c.timeout != DefaultTimeout || c.connect != MaxConnect {
		t.Errorf("defaults are %q, %s, %s", c.base, c.timeout, c.connect)
	}
}
