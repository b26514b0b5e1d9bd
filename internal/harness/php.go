package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
)

// PHP is a running php-fpm with one script.
type PHP struct {
	Root    string // folder of the script, index.php
	Address string // host and port at which it speaks FastCGI
}

// StartPHP runs php-fpm until the test ends. script is the content of index.php. Without php-fpm
// StartPHP skips the test, or fails it if php is required. It leaves an idle worker behind if the
// test is killed, because no signal reaches the worker then.
func StartPHP(t *testing.T, script string) PHP {
	t.Helper()
	program, err := phpProgram()
	testlevel.Need(t, "php", err)
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := PHP{Root: filepath.Join(dir, "public"), Address: fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	config, ini := filepath.Join(dir, "fpm.conf"), filepath.Join(dir, "php.ini")
	WriteFile(t, filepath.Join(p.Root, "index.php"), script)
	WriteFile(t, config, fmt.Sprintf("[global]\nerror_log = /dev/stderr\n[www]\nlisten = %s\nuser = %s\n"+
		"pm = static\npm.max_children = 1\n", p.Address, who.Username))
	WriteFile(t, ini, "session.save_path = "+dir+"\n")
	// php-fpm does not run as root, as in a container, without --allow-to-run-as-root.
	server := StartServer(t, exec.Command(program, "--nodaemonize", "--allow-to-run-as-root", "--php-ini", ini, "--fpm-config", config,
		"--prefix", dir), p.Address)
	t.Cleanup(func() { // by a signal that php-fpm passes on to its worker
		if err := server.Interrupt(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return p
}

// phpProgram returns the path of php-fpm. Debian adds the version to its name, such as php-fpm8.2;
// of several versions, phpProgram takes the last by name.
func phpProgram() (string, error) {
	if path, err := system("php-fpm"); err == nil {
		return path, nil
	}
	var found []string
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		names, _ := filepath.Glob(filepath.Join(dir, "php-fpm[0-9]*")) // the pattern is well-formed
		found = append(found, names...)
	}
	if len(found) == 0 {
		return "", errors.New("there is no php-fpm on this machine")
	}
	return slices.MaxFunc(found, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) }), nil
}
