package logtext

import (
	"bytes"
	"encoding/json"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Escaping returns a logger that writes to the same log, with every text escaped and
// cut to MaxText: the message, and the texts in fields of any type. Names of fields and
// loggers are not escaped, because they are constants of the program.
//
// Pass each logger through Escaping once. A logger that is made from its result, such as
// by With or WithOptions, escapes too.
func Escaping(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(to zapcore.Core) zapcore.Core { return core{to} }))
}

// core escapes texts on their way to another core.
type core struct{ to zapcore.Core }

// Enabled implements zapcore.LevelEnabler.
func (c core) Enabled(level zapcore.Level) bool { return c.to.Enabled(level) }

// With implements zapcore.Core.
func (c core) With(fields []zapcore.Field) zapcore.Core { return core{c.to.With(escapeAll(fields))} }

// Check implements zapcore.Core.
func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// stderr gets the errors of a log that cannot be written, as by default with zap.
var stderr = zapcore.Lock(os.Stderr)

// Write implements zapcore.Core. Only Check of the other core knows which of its outputs
// take the line, for example by their levels.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message = escape(Cut(e.Message, MaxText), true)
	if ce := c.to.Check(e, nil); ce != nil {
		ce.ErrorOutput = stderr
		ce.Write(escapeAll(fields)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c core) Sync() error { return c.to.Sync() }

// field returns a text of a field as the log has it.
func field(text string) string { return Escape(Cut(text, MaxText)) }

// escapeAll returns fields that write the same with every text escaped.
func escapeAll(fields []zapcore.Field) []zapcore.Field {
	escaped := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		switch f.Type {
		case zapcore.StringType:
			f.String = field(f.String)
		case zapcore.BoolType, zapcore.DurationType, zapcore.TimeType, zapcore.TimeFullType, zapcore.NamespaceType, zapcore.SkipType,
			zapcore.Float64Type, zapcore.Float32Type, zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type,
			zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type, zapcore.UintptrType:
		default: // an error, a Stringer, a list, an object: its texts are known only when it is encoded
			f = zap.Inline(later{f})
		}
		escaped[i] = f
	}
	return escaped
}

// later is a field whose texts are escaped while it is encoded.
type later struct{ field zapcore.Field }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l later) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	l.field.AddTo(object{enc})
	return nil
}

// object escapes the texts of an object.
type object struct{ zapcore.ObjectEncoder }

func (o object) AddString(key, value string) { o.ObjectEncoder.AddString(key, field(value)) }

func (o object) AddByteString(key string, value []byte) { o.AddString(key, string(value)) }

func (o object) AddArray(key string, m zapcore.ArrayMarshaler) error {
	return o.ObjectEncoder.AddArray(key, zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return m.MarshalLogArray(array{enc})
	}))
}

func (o object) AddObject(key string, m zapcore.ObjectMarshaler) error {
	return o.ObjectEncoder.AddObject(key, zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return m.MarshalLogObject(object{enc})
	}))
}

func (o object) AddReflected(key string, value any) error {
	plain, err := reflected(value)
	if err != nil {
		return err
	}
	return o.ObjectEncoder.AddReflected(key, plain)
}

// array escapes the texts of a list.
type array struct{ zapcore.ArrayEncoder }

func (a array) AppendString(value string) { a.ArrayEncoder.AppendString(field(value)) }

func (a array) AppendByteString(value []byte) { a.AppendString(string(value)) }

func (a array) AppendArray(m zapcore.ArrayMarshaler) error {
	return a.ArrayEncoder.AppendArray(zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return m.MarshalLogArray(array{enc})
	}))
}

func (a array) AppendObject(m zapcore.ObjectMarshaler) error {
	return a.ArrayEncoder.AppendObject(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return m.MarshalLogObject(object{enc})
	}))
}

func (a array) AppendReflected(value any) error {
	plain, err := reflected(value)
	if err != nil {
		return err
	}
	return a.ArrayEncoder.AppendReflected(plain)
}

// reflected returns a value that has the same JSON as value, with every text escaped.
// Encoders write such a value with encoding/json.
func reflected(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return nil, err
	}
	return escapeValue(plain), nil
}

// escapeValue escapes the texts in a value that encoding/json has decoded, and the names
// in its objects.
func escapeValue(value any) any {
	switch v := value.(type) {
	case string:
		return field(v)
	case []any:
		for i := range v {
			v[i] = escapeValue(v[i])
		}
	case map[string]any:
		escaped := make(map[string]any, len(v))
		for name, member := range v {
			escaped[field(name)] = escapeValue(member)
		}
		return escaped
	}
	return value
}
