// Package doctor has the commands that read a configuration without running it:
// `caddy websms doctor`, which names its faults and risks, and `caddy websms send`, which
// sends one test code.
//
// The package does not know the Caddy modules of this plugin. Its user gives it a
// Reader, which turns a configuration into plain structs: the account, the store,
// the gates and the webhooks, with their places among Caddy's routes and their
// risks. The doctor sends no SMS and changes nothing. No finding shows a secret.
package doctor

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/internal/operator"
)

// finding is the result of one check. Programs read it as JSON.
type finding struct {
	Check string `json:"check"` // such as store redis
	State state  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // the remedy, as an instruction
}

// state is the result of a check.
type state string

const (
	stateOK      state = "ok"
	stateRisk    state = "risk"    // it works, and may not be wanted
	stateFailed  state = "failed"  // it does not work
	stateSkipped state = "skipped" // the doctor could not look
)

// marks stand for the states in text. They need no colour.
var marks = map[state]string{stateOK: "✓", stateRisk: "!", stateFailed: "✗", stateSkipped: "-"}

// Commands returns a function that makes the commands of this package. They read
// configurations with read.
func Commands(read Reader) func() []*cobra.Command {
	return func() []*cobra.Command { return []*cobra.Command{doctorCommand(read), sendCommand(read)} }
}

func doctorCommand(read Reader) *cobra.Command {
	cmd := operator.Subcommand("doctor", "Finds what is wrong, and says what to do", `
Checks the configuration and everything that the gate needs: whether the
configuration loads, the credentials, WebSMS and its token, the balance of the
account, the clock, the store, the webhook as seen from this machine, and the
running Caddy. It also lists the risks of the configuration.

    caddy websms doctor --config /etc/caddy/Caddyfile

    ✓ works   ! a risk   ✗ does not work   - was not checked

It sends no SMS and changes nothing. Run it as the same user and with the same
environment as Caddy, or secrets may be missing. It ends with 1 if anything
does not work.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		found := examine(cmd, read)
		if err := report(cmd, found); err != nil {
			return err
		}
		failed := 0
		for _, f := range found {
			if f.State == stateFailed {
				failed++
			}
		}
		if failed > 0 {
			return operator.Exitf(operator.ExitFailed, "%d of %d checks failed", failed, len(found))
		}
		return nil
	})
	operator.WithConfig(cmd)
	cmd.Flags().String("address", "", "Address of Caddy's admin endpoint (default: that of the configuration)")
	cmd.Flags().String("webhook", "", "URL of the webhook, without its secret (default: made from the site's address)")
	return cmd
}

// examine makes all checks. If the configuration cannot be read, that is the only
// finding.
func examine(cmd *cobra.Command, read Reader) []finding {
	file, err := read.file(operator.Flag(cmd, "config"), operator.Flag(cmd, "adapter"))
	if err != nil {
		return []finding{{"configuration", stateFailed, err.Error(), "correct it, or name another with --config"}}
	}
	found := []finding{file.checkConfiguration()}
	found = append(found, file.checkAccount(cmd.Context())...)
	found = append(found, file.checkStore(cmd.Context()))
	found = append(found, file.checkWebhooks(cmd.Context(), operator.Flag(cmd, "webhook"))...)
	found = append(found, file.checkRunning(operator.Flag(cmd, "address")))
	return append(found, file.risks()...)
}

// report prints the findings, as text or as JSON.
func report(cmd *cobra.Command, found []finding) error {
	if operator.IsSet(cmd, "json") {
		return operator.PrintJSON(cmd, found)
	}
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s: %s\n", marks[f.State], f.Check, f.Found)
		if f.Do != "" {
			fmt.Fprintf(&b, "    → %s\n", f.Do)
		}
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}
