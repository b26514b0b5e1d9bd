// Package risk has the type of a risk in a configuration.
//
// Each options struct lists its own risks. A load logs them with Log, and
// `caddy websms doctor` prints the same list.
package risk

import "go.uber.org/zap"

// Risk is a setting that works but may be a mistake, such as codes of 4 digits. Its texts hold no secret.
type Risk struct {
	Text string // the risk; the subject of the sentence is the handler or block
	Do   string // the remedy, as an instruction
	// Note is true if the risk depends on facts outside the configuration, such as
	// the proxy in front of Caddy. Log logs such a risk at level info.
	Note bool
}

// Log logs each risk at level warn, or at level info if it is a note. The field do
// holds the remedy.
func Log(logger *zap.Logger, list []Risk, fields ...zap.Field) {
	for _, r := range list {
		log := logger.Warn
		if r.Note {
			log = logger.Info
		}
		log(r.Text, append(fields[:len(fields):len(fields)], zap.String("do", r.Do))...)
	}
}
