// Package risk is the one list of risks: what works in a configuration, and may
// still not be wanted. The options that are risky say so themselves. A load logs
// the risks, and the doctor prints them.
package risk

import "go.uber.org/zap"

// Risk is something in a configuration that works and may still not be wanted.
type Risk struct {
	Text string // a sentence about the handler or block
	Do   string // the remedy
	// Note is set if the risk depends on facts that no configuration holds, such
	// as the proxy in front of Caddy. A load logs it at level info.
	Note bool
}

// Log logs each risk of list with its remedy: at level warn, or a note at level
// info.
func Log(logger *zap.Logger, list []Risk, fields ...zap.Field) {
	for _, r := range list {
		log := logger.Warn
		if r.Note {
			log = logger.Info
		}
		log(r.Text, append(fields[:len(fields):len(fields)], zap.String("do", r.Do))...)
	}
}
