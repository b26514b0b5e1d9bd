package operator

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/number"
)

// WithConfig adds the flags --config and --adapter, which name a configuration.
func WithConfig(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Configuration file (default: the Caddyfile in this folder, if there is one)")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter to apply")
}

// WithNumber adds the flag --country, which ReadNumber needs.
func WithNumber(cmd *cobra.Command) {
	cmd.Flags().String("country", "NZ", "ISO code of the country in whose way the number is written")
}

// Flag returns the value of a flag that the command has.
func Flag(cmd *cobra.Command, name string) string {
	value, _ := cmd.Flags().GetString(name) // it fails only for a flag that the command does not have
	return value
}

// IsSet reports whether a boolean flag of the command is set.
func IsSet(cmd *cobra.Command, name string) bool {
	value, _ := cmd.Flags().GetBool(name)
	return value
}

// ReadNumber returns in E.164 the number that an operator has written. For "-" it
// reads the number from standard input. An error does not repeat the number.
func ReadNumber(cmd *cobra.Command, written string) (string, error) {
	if written == "-" {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 256)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", Exitf(ExitUsage, "reading the number from standard input: %w", err)
		}
		written = strings.TrimSpace(line)
	}
	if IsE164(written) { // also a number of a country that number.Parse does not know
		return written, nil
	}
	country := strings.ToUpper(Flag(cmd, "country"))
	if !number.KnownRegion(country) {
		return "", Exitf(ExitUsage, "--country %s is no ISO code of a country: give one such as NZ", country)
	}
	n, err := number.Parse(written, []string{country})
	if err != nil {
		return "", Exitf(ExitUsage,
			"that is no mobile number: write it like %s, or with its country code: %w", number.Example(country), err)
	}
	return n.E164, nil
}

// PrintJSON prints v as indented JSON, for the flag --json.
func PrintJSON(cmd *cobra.Command, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
	return err
}
