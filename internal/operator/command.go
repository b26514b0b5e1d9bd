package operator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/number"
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

// WithConfig adds the flags that say which configuration to read.
func WithConfig(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Configuration file (default: the Caddyfile of this folder, if there is one)")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter to apply")
}

// WithNumber adds the flag that says how numbers are written.
func WithNumber(cmd *cobra.Command) {
	cmd.Flags().String("country", "NZ", "ISO code of the country whose way of writing numbers is understood")
}

func Flag(cmd *cobra.Command, name string) string {
	value, _ := cmd.Flags().GetString(name) // every name is one that was added
	return value
}

func IsSet(cmd *cobra.Command, name string) bool {
	value, _ := cmd.Flags().GetBool(name)
	return value
}

// ReadNumber returns a number in E.164. The error does not repeat it.
func ReadNumber(cmd *cobra.Command, written string) (string, error) {
	if written == "-" {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 256)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", Exitf(ExitUsage, "reading the number from standard input: %w", err)
		}
		written = strings.TrimSpace(line)
	}
	if IsE164(written) { // also of a country that the library knows nothing of
		return written, nil
	}
	country := strings.ToUpper(Flag(cmd, "country"))
	if !number.KnownRegion(country) {
		return "", Exitf(ExitUsage, "--country %s is no ISO code of a country: give one such as NZ", country)
	}
	n, err := number.Parse(written, []string{country})
	if err != nil {
		return "", Exitf(ExitUsage, "that is no mobile number: write it like %s, or with its country code: %w", number.Example(country), err)
	}
	return n.E164, nil
}

// PrintJSON prints what a program asked for.
func PrintJSON(cmd *cobra.Command, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
	return err
}
