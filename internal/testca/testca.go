// Package testca is a certificate authority for one test.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates that are valid for an hour.
type CA struct {
	Cert *x509.Certificate
	File string // certificate of the authority, PEM

	key *ecdsa.PrivateKey
}

// New returns an authority that only its test trusts.
func New(t testing.TB) *CA {
	t.Helper()
	ca := &CA{File: filepath.Join(t.TempDir(), "ca.pem")}
	own := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test CA"}, KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true,
	}
	pair := sign(t, own, own, nil)
	ca.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	var err error
	if ca.Cert, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	write(t, ca.File, "CERTIFICATE", pair.Certificate[0])
	return ca
}

// Issue returns a certificate for a client or a server. The template names its subject.
func (ca *CA) Issue(t testing.TB, template x509.Certificate) tls.Certificate {
	t.Helper()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	return sign(t, &template, ca.Cert, ca.key)
}

// Files is Issue, and returns the paths of two PEM files.
func (ca *CA) Files(t testing.TB, template x509.Certificate) (cert, key string) {
	t.Helper()
	pair := ca.Issue(t, template)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, "CERTIFICATE", pair.Certificate[0])
	write(t, key, "PRIVATE KEY", der)
	return cert, key
}

// sign makes a key, and a certificate signed by by. If by is nil, the certificate is self-signed.
func sign(t testing.TB, template, parent *x509.Certificate, by *ecdsa.PrivateKey) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func write(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
