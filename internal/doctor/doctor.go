package doctor

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/internal/operator"
)

// finding is what the doctor found in one respect.
type finding struct {
	Check string `json:"check"`
	State state  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// state says how serious it is.
type state string

const (
	stateOK      state = "ok"
	stateRisk    state = "risk"
	stateFailed  state = "failed"
	stateSkipped state = "skipped"
)

// marks say it without colour.
var marks = map[state]string{stateOK: "✓", stateRisk: "!", stateFailed: "✗", stateSkipped: "-"}

// Commands returns what makes the commands that read a configuration.
func Commands(read Reader) func() []*cobra.Command {
	return func() []*cobra.Command { return []*cobra.Command{doctorCommand(read), sendCommand(read)} }
}

func doctorCommand(read Reader) *cobra.Command {
	cmd := operator.Subcommand("doctor", "Finds what is wrong, and says what to do", `
Looks at the configuration and at all that the gate depends on: whether it
loads, the credentials, WebSMS and its token, the clock, the store, the webhook
as this machine reaches it, the Caddy that runs, and what is risky.

    caddy websms doctor --config /etc/caddy/Caddyfile

    ✓ well   ! a risk to know of   ✗ does not work   - was not looked at

It sends no SMS and changes nothing. Run it as the user and with the
environment that Caddy has, or secrets may be missing. It ends with 1 if
anything does not work.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
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
	cmd.Flags().String("address", "", "Address of Caddy's admin endpoint (default: the configuration's)")
	cmd.Flags().String("webhook", "", "URL of the webhook, without its secret, where the configuration does not tell it")
	return cmd
}

// examine makes every check that the ones before it leave any sense in.
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
