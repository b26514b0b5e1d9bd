package operator

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// adminCommand returns a command that asks the running Caddy.
func adminCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := Subcommand(use, short, long, args, do)
	WithConfig(cmd)
	cmd.Flags().String("address", "", "Address of Caddy's admin endpoint (default: that of --config, else localhost:2019)")
	return cmd
}

// personCommand returns a command about one person, in one realm.
func personCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := adminCommand(use, short, long, args, do)
	WithNumber(cmd)
	cmd.Flags().String("realm", "", "Realm of the gate; leave it out if the gate has no option realm")
	return cmd
}

// revokeCommand returns `caddy websms revoke`.
func revokeCommand() *cobra.Command {
	cmd := personCommand("revoke (--session <id> | --number <number> | --user <name>)", "Ends sessions", `
Ends one session, by its id from the audit log, or all present sessions of a
number or a user. The person can sign in again. To keep them out, also remove
their number from the list of allowed numbers.

    caddy websms revoke --user bob
    caddy websms revoke --number 021234567 --realm staff`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		req := Request{Session: Flag(cmd, "session"), User: Flag(cmd, "user"), Realm: Flag(cmd, "realm")}
		if written := Flag(cmd, "number"); written != "" {
			var err error
			if req.Number, err = ReadNumber(cmd, written); err != nil {
				return err
			}
		}
		return tellAdmin(cmd, RevokePath, req, "Ended. The person must sign in again at their next request.")
	})
	cmd.Flags().String("session", "", "Id of the session: 32 hexadecimal digits")
	cmd.Flags().String("number", "", "Number whose sessions to end")
	cmd.Flags().String("user", "", "User whose sessions to end")
	return cmd
}

// unlockCommand returns `caddy websms unlock`.
func unlockCommand() *cobra.Command {
	cmd := personCommand("unlock (<number> | --budget)", "Forgets the wrong codes of a number, or the codes that count against a budget", `
Forgets the wrong codes that were entered for a number, and so ends its lock.
With --budget it forgets the codes that count against the budget of a realm, so
that the whole budget can be spent again.

    caddy websms unlock 021234567
    caddy websms unlock --budget --realm staff

It ends with 4 if no code counted.`, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return cobra.NoArgs(cmd, args)
		}
		return cobra.ExactArgs(1)(cmd, args)
	}, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return tellAdmin(cmd, UnlockPath, Request{Budget: true, Realm: Flag(cmd, "realm")},
				"Unlocked. The whole budget can be spent again.")
		}
		e164, err := ReadNumber(cmd, args[0])
		if err != nil {
			return err
		}
		return tellAdmin(cmd, UnlockPath, Request{Number: e164, Realm: Flag(cmd, "realm")},
			"Unlocked. The number can ask for a code again.")
	})
	cmd.Flags().Bool("budget", false, "Forget the codes that count against the budget, not the wrong codes of a number")
	return cmd
}

// recoveryCommand returns `caddy websms recovery-code`. The prefix is the default
// prefix of a gate's pages.
func recoveryCommand(prefix string) *cobra.Command {
	cmd := personCommand("recovery-code (--number <number> | --user <name>)", "Lets one person in without an SMS, once", `
Makes a code that lets one person in without an SMS, once, within ten minutes.
First make sure who the person is, and not by the phone that fails: the code
lets in anybody who has it. The person types it on the page <prefix>/recover,
which "I have a recovery code" opens.

    caddy websms recovery-code --number 021234567     where people type a number
    caddy websms recovery-code --user bob             with second_factor

Caddy makes at most five codes an hour for one person. The audit log records
each code that is made, and each that is used.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		req := Request{User: Flag(cmd, "user"), Realm: Flag(cmd, "realm")}
		if written := Flag(cmd, "number"); written != "" {
			var err error
			if req.Number, err = ReadNumber(cmd, written); err != nil {
				return err
			}
		}
		var made RecoveryCode
		if err := ask(cmd, http.MethodPost, RecoveryPath, req, &made); err != nil {
			return err
		}
		if IsSet(cmd, "json") {
			return PrintJSON(cmd, made)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nType it once, on the page %s/recover of the gate, before %s.\n",
			made.Code, prefix, made.ExpiresAt.Local().Format(time.TimeOnly))
		return err
	})
	cmd.Flags().String("number", "", "Number of the person, where people type theirs")
	cmd.Flags().String("user", "", "Name of the user, with second_factor")
	return cmd
}

// tellAdmin asks the admin endpoint for a change, and prints done when it is made.
func tellAdmin(cmd *cobra.Command, path string, req Request, done string) error {
	var answer map[string]bool
	if err := ask(cmd, http.MethodPost, path, req, &answer); err != nil {
		return err
	}
	if IsSet(cmd, "json") {
		return PrintJSON(cmd, answer)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), done)
	return err
}
