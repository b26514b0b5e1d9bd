package operator

import (
	"errors"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Command returns the command caddy websms. Its subcommands are those that ask
// the admin endpoint, and those of others. The prefix is where the pages of a
// gate are, unless its options say otherwise.
func Command(prefix string, others func() []*cobra.Command) caddycmd.Command {
	return caddycmd.Command{
		Name:  "websms",
		Usage: "<command>",
		Short: "Looks after the SMS gate: what is wrong, who is in, who is locked out",
		Long: `
Looks after the SMS gate of this machine.

    caddy websms doctor             what is wrong with the configuration, the
                                    account, the store, the webhook
    caddy websms send 021234567     one real test code
    caddy websms status             how the running gates are
    caddy websms challenges 021…    which codes a number waits for
    caddy websms revoke --user bob  ends sessions
    caddy websms unlock 021234567   forgets the wrong codes of a number
    caddy websms recovery-code …    lets one person in without an SMS, once

doctor and send read a configuration, as "caddy run" does. All others ask the
Caddy that runs, over its admin endpoint; whoever reaches that may do anything.

A number may be written as people here write it (--country says where), and as
"-" it is read from standard input, so that it stands in no list of processes.

Exit codes: 0 done, or all well; 1 refused, failed, or not well; 2 wrong usage;
3 the admin endpoint of Caddy does not answer; 4 there is nothing of the kind.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				return fail(cmd, Exitf(ExitUsage, "there is no command %q: see caddy websms --help", args[0]))
			}
			cmd.AddCommand(others()...)
			cmd.AddCommand(statusCommand(), challengesCommand(), revokeCommand(), unlockCommand(), recoveryCommand(prefix))
		},
	}
}

// The exit codes of the commands.
const (
	ExitFailed  = 1
	ExitUsage   = 2
	ExitNoCaddy = 3
	ExitNothing = 4
)

// exit is an error that says with which code to end.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

func Exitf(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

// fail has Caddy say an error on standard error, as it does for its own
// commands, and end with the error's code.
func fail(cmd *cobra.Command, err error) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
		return ExitCode(err), err
	})(cmd, nil)
}

// ExitCode returns with which code to end because of an error.
func ExitCode(err error) int {
	if e := (*exit)(nil); errors.As(err, &e) {
		return e.code
	}
	return ExitFailed
}

// Subcommand returns a command that runs do.
func Subcommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(long), SilenceUsage: true,
		Args: func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return fail(cmd, Exitf(ExitUsage, "%v: see caddy websms %s --help", err, cmd.Name()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := do(cmd, args); err != nil {
				return fail(cmd, err)
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(cmd, Exitf(ExitUsage, "%v: see caddy websms %s --help", err, cmd.Name()))
	})
	cmd.Flags().Bool("json", false, "Print JSON, and nothing else, for programs")
	return cmd
}
