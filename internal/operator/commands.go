package operator

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// adminCommand returns a command that asks the Caddy that runs.
func adminCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := Subcommand(use, short, long, args, do)
	WithConfig(cmd)
	cmd.Flags().String("address", "", "Address of Caddy's admin endpoint (default: the configuration's, if one is given, else localhost:2019)")
	return cmd
}

// personCommand returns one that asks about somebody, in a realm.
func personCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := adminCommand(use, short, long, args, do)
	WithNumber(cmd)
	cmd.Flags().String("realm", "", "Realm of the gate, as its option has it; none if it has none")
	return cmd
}

func revokeCommand() *cobra.Command {
	cmd := personCommand("revoke (--session <id> | --number <number> | --user <name>)", "Ends sessions", `
Ends one session, by the id that the audit log has, or all that a number or a
user has until now. Whoever is meant can sign in again; to keep them out, take
their number off the list as well.

    caddy websms revoke --user bob
    caddy websms revoke --number 021234567 --realm staff`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		req := Request{Session: Flag(cmd, "session"), User: Flag(cmd, "user"), Realm: Flag(cmd, "realm")}
		if written := Flag(cmd, "number"); written != "" {
			var err error
			if req.Number, err = ReadNumber(cmd, written); err != nil {
				return err
			}
		}
		return tellAdmin(cmd, RevokePath, req, "Ended. Whoever it was signs in again at their next request.")
	})
	cmd.Flags().String("session", "", "Id of the session: 32 hexadecimal digits")
	cmd.Flags().String("number", "", "Number whose sessions to end")
	cmd.Flags().String("user", "", "User whose sessions to end")
	return cmd
}

func unlockCommand() *cobra.Command {
	cmd := personCommand("unlock (<number> | --budget)", "Forgets the wrong codes of a number, or what counts against the budget", `
Forgets the wrong codes that were entered for a number, and with them its lock.
With --budget it forgets the codes that count against the budget of a realm: all
of it can be spent again.

    caddy websms unlock 021234567
    caddy websms unlock --budget --realm staff

It ends with 4 if none counted.`, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return cobra.NoArgs(cmd, args)
		}
		return cobra.ExactArgs(1)(cmd, args)
	}, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return tellAdmin(cmd, UnlockPath, Request{Budget: true, Realm: Flag(cmd, "realm")}, "Unlocked. The whole budget can be spent again.")
		}
		e164, err := ReadNumber(cmd, args[0])
		if err != nil {
			return err
		}
		return tellAdmin(cmd, UnlockPath, Request{Number: e164, Realm: Flag(cmd, "realm")}, "Unlocked. The next code that is asked for is sent, and taken.")
	})
	cmd.Flags().Bool("budget", false, "Forget what counts against the budget, in place of a number's wrong codes")
	return cmd
}

func recoveryCommand(prefix string) *cobra.Command {
	cmd := personCommand("recovery-code (--number <number> | --user <name>)", "Lets one person in without an SMS, once", `
Makes a code that lets one person in without an SMS, once, within ten minutes.
Make sure that it is them, by other means than the phone that fails: whoever
holds the code is let in. It is typed on the page <prefix>/recover, to which
"I have a recovery code" leads.

    caddy websms recovery-code --number 021234567     where people type a number
    caddy websms recovery-code --user bob             with second_factor

Five are made for one person in an hour. That one was made, and that one was
used, is in the audit log.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
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
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nFor the page %s/recover of the gate, once, until %s.\n", made.Code, prefix, made.ExpiresAt.Local().Format(time.TimeOnly))
		return err
	})
	cmd.Flags().String("number", "", "Number of the person, where people type theirs")
	cmd.Flags().String("user", "", "Name of the user, with second_factor")
	return cmd
}

// tellAdmin asks for a change, and says that it was made.
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
