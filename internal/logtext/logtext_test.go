package logtext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"Kia ora! 你好 👍🏽 naïve مرحبا", "Kia ora! 你好 👍🏽 naïve مرحبا"},
		{"two\nlines\tand\x00", "two\nlines\tand\x00"}, // the encoder escapes them
		{"\x7f\u0080\u009b31m\u009f\u00a0", `\u007f\u0080\u009b31m\u009f` + "\u00a0"},
		{"\u202ereversed\u202c", `\u202ereversed\u202c`},
		{"\u2066\u2069\u200e\u200f\u061c", `\u2066\u2069\u200e\u200f\u061c`},
		{"\u2028\u2029\ufeff", `\u2028\u2029\ufeff`},
		{"\u00ad\u200b\u2060\U000e0041\U000e007f", `\u00ad\u200b\u2060\U000e0041\U000e007f`},
		{"👨\u200d👩\u200d👧 می\u200cخواهم", "👨\u200d👩\u200d👧 می\u200cخواهم"},
		{`C:\path\to\users \n`, `C:\path\to\users \n`},
		{`\u202e`, `\u005cu202e`},
		{`\u202E \U000E0041 \u12`, `\u005cu202E \u005cU000E0041 \u12`},
		{`\` + "\u202e", `\\u202e`},
		{`\u20` + "\u0085", `\u20\u0085`},
		{"a\xffb\x9b", "a\ufffdb\ufffd"},
		{"\ufffd", "\ufffd"},
	} {
		if got := Escape(c.text); got != c.want {
			t.Errorf("%+q becomes %+q, want %+q", c.text, got, c.want)
		}
	}
}

var escapes = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})`)

// unescape reverses Escape.
func unescape(text string) string {
	return escapes.ReplaceAllStringFunc(text, func(s string) string {
		r, _ := strconv.ParseUint(s[2:], 16, 32)
		return string(rune(r))
	})
}

// strange returns texts with many of the characters that matter.
func strange() *rapid.Generator[string] {
	pieces := rapid.OneOf(
		rapid.SampledFrom([]string{`\`, `\u`, `\u202e`, `\U0000202e`, "u202e", "\n", "\r", "\x1b[31m", "\x7f", "\u0085", "\u009b", "\u2028",
			"\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\ufeff", "\U000e0041", `"`, "😀",
			"\xff", "\x9b", "\xe2\x80"}),
		rapid.Map(rapid.Int32Range(0, 0x10ffff), func(r int32) string { return string(r) }),
		rapid.String(),
	)
	return rapid.Map(rapid.SliceOfN(pieces, 0, 12), func(parts []string) string { return strings.Join(parts, "") })
}

// forbidden returns the first character of a line that must not stand in a log.
func forbidden(line string) (rune, bool) {
	for _, r := range line {
		if r == '\u200c' || r == '\u200d' {
			continue
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return r, true
		}
	}
	return 0, false
}

// Two texts never have the same escaped form, and the form holds no harmful character.
func TestEscapeIsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strange().Draw(t, "text")
		got := Escape(text)
		if utf8.ValidString(text) && unescape(got) != text {
			t.Errorf("%+q becomes %+q, which is read as %+q", text, got, unescape(got))
		}
		for _, r := range got {
			if r >= ' ' && isHarmful(r, false) {
				t.Errorf("%+q keeps %U", text, r)
			}
		}
		if len(got) > 6*len(text) {
			t.Errorf("%d bytes become %d", len(text), len(got))
		}
	})
}

// stringer, failing and verbose are texts that only the encoder asks for.
type stringer string

func (s stringer) String() string { return string(s) }

type verbose string

func (v verbose) Error() string                                { return string(v) }
func (v verbose) Format(s fmt.State, _ rune)                   { fmt.Fprint(s, "verbose ", string(v)) }
func (v verbose) MarshalLogObject(zapcore.ObjectEncoder) error { return errors.New(string(v)) }

type nested string

func (n nested) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("text", string(n))
	enc.AddByteString("bytes", []byte(n))
	_ = enc.AddReflected("reflected", map[string]any{string(n): []string{string(n)}})
	return enc.AddArray("list", zapcore.ArrayMarshalerFunc(func(list zapcore.ArrayEncoder) error {
		list.AppendString(string(n))
		list.AppendByteString([]byte(n))
		_ = list.AppendReflected(string(n))
		_ = list.AppendArray(zapcore.ArrayMarshalerFunc(func(inner zapcore.ArrayEncoder) error {
			inner.AppendString(string(n))
			return nil
		}))
		return list.AppendObject(zapcore.ObjectMarshalerFunc(func(inner zapcore.ObjectEncoder) error {
			inner.AddString("deep", string(n))
			return inner.AddObject("deeper", zapcore.ObjectMarshalerFunc(func(deepest zapcore.ObjectEncoder) error {
				deepest.AddString("text", string(n))
				return nil
			}))
		}))
	}))
}

// fieldsWith returns a field of every type that can hold a text.
func fieldsWith(text string) []zap.Field {
	return []zap.Field{
		zap.String("string", text), zap.ByteString("bytes", []byte(text)), zap.Binary("binary", []byte(text)),
		zap.Strings("strings", []string{text, text}), zap.Stringer("stringer", stringer(text)), zap.Stringp("pointer", &text),
		zap.Error(errors.New(text)), zap.NamedError("verbose", verbose(text)), zap.Errors("errors", []error{errors.New(text), verbose(text)}),
		zap.NamedError("joined", errors.Join(errors.New(text), fmt.Errorf("%q: %w", text, errors.New(text)))),
		zap.Any("any", text), zap.Any("struct", struct{ A, B any }{text, []string{text}}), zap.Any("map", map[string]string{text: text}),
		zap.Any("bytes of any", json.RawMessage(`"x"`)), zap.Any("failing", func() {}), zap.Object("object", nested(text)),
		zap.Object("failing object", verbose(text)), zap.Inline(nested(text)), zap.Dict("dict", zap.String("text", text)),
		zap.Objects("objects", []nested{nested(text)}), zap.Reflect("nothing", nil), zap.Int("int", 7), zap.Namespace("space"),
		zap.String("within", text),
	}
}

var encoders = []struct {
	name string
	make func(zapcore.EncoderConfig) zapcore.Encoder
}{{"json", zapcore.NewJSONEncoder}, {"console", zapcore.NewConsoleEncoder}}

// writeTo returns an escaping logger of an encoder, and its output.
func writeTo(make func(zapcore.EncoderConfig) zapcore.Encoder, level zapcore.Level) (*zap.Logger, *bytes.Buffer) {
	var written bytes.Buffer
	config := zap.NewProductionEncoderConfig()
	config.ConsoleSeparator = " | " // a tab by default, which the tests forbid
	to := zapcore.NewCore(make(config), zapcore.AddSync(&written), level)
	return Escaping(zap.New(to)), &written
}

// No line of the log holds a harmful character, in any field or message and with any encoder.
func TestLoggerEscapes(t *testing.T) {
	for _, encoder := range encoders {
		t.Run(encoder.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text := strange().Draw(t, "text")
				log, written := writeTo(encoder.make, zap.DebugLevel)
				log.Warn("a message: "+text, fieldsWith(text)...)
				log.With(fieldsWith(text)...).Named("below").Info(text)
				lines := strings.Split(strings.TrimSuffix(written.String(), "\n"), "\n")
				if len(lines) != 2 {
					t.Fatalf("%+q: %d lines, want 2", text, len(lines))
				}
				for _, line := range lines {
					if r, found := forbidden(line); found {
						t.Errorf("%+q: the line holds %U: %+q", text, r, line)
					}
				}
			})
		})
	}
}

// A JSON line that is read back has the escaped text.
func TestLoggerReadBack(t *testing.T) {
	log, written := writeTo(zapcore.NewJSONEncoder, zap.DebugLevel)
	const text, want = "a\u202eb\nc", "a\\u202eb\nc"
	log.With(zap.String("with", text)).Warn("m\u2028\n", zap.String("string", text), zap.Strings("strings", []string{text}),
		zap.Error(errors.New(text)), zap.Any("any", map[string]any{"n": 12345678901234567, "t": text}), zap.Int("int", 7),
		zap.Dict("dict", zap.Stringer("inner", stringer(text))))
	var got map[string]any
	if err := json.Unmarshal(written.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "ts")
	if s := fmt.Sprintf("%q", got); s != fmt.Sprintf("%q", map[string]any{
		"level": "warn", "msg": `m\u2028\u000a`, "with": want, "string": want, "strings": []any{want}, "error": want, "int": 7.0,
		"any": map[string]any{"n": 12345678901234567.0, "t": want}, "dict": map[string]any{"inner": want},
	}) {
		t.Errorf("read back: %s", s)
	}
	if !strings.Contains(written.String(), "12345678901234567") {
		t.Errorf("a large number is rounded: %s", written)
	}
}

// A text without end does not fill the log.
func TestLoggerCuts(t *testing.T) {
	for _, long := range []string{strings.Repeat("x", 100_000), strings.Repeat("ā", 50_000), strings.Repeat("\u202e", 50_000)} {
		log, written := writeTo(zapcore.NewJSONEncoder, zap.DebugLevel)
		log.Info(long, zap.String("text", long), zap.Error(errors.New(long)))
		if written.Len() > 3*(3*MaxText+100) { // a mark of three bytes becomes six, and seven in JSON
			t.Errorf("%d bytes are logged", written.Len())
		}
		if !strings.Contains(written.String(), "…") {
			t.Error("the log does not say that the text is cut")
		}
		if !utf8.Valid(written.Bytes()) || strings.Contains(written.String(), "\ufffd") {
			t.Error("a character is cut in two")
		}
	}
}

// Each output keeps its own level, and a sampler drops lines as before.
func TestLoggerLevels(t *testing.T) {
	var all, errorsOnly bytes.Buffer
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	log := Escaping(zap.New(zapcore.NewTee(
		zapcore.NewCore(enc, zapcore.AddSync(&all), zap.InfoLevel),
		zapcore.NewCore(enc, zapcore.AddSync(&errorsOnly), zap.ErrorLevel),
	)))
	log.Debug("debug")
	log.Info("info")
	log.Error("error")
	if a, e := strings.Count(all.String(), "\n"), strings.Count(errorsOnly.String(), "\n"); a != 2 || e != 1 {
		t.Errorf("%d and %d lines, want 2 and 1", a, e)
	}
	if log.Core().Enabled(zap.DebugLevel) || log.Check(zap.DebugLevel, "debug") != nil {
		t.Error("a level that no output takes is enabled")
	}
}

// The error of a log that cannot be written is not lost.
func TestLoggerReportsFailure(t *testing.T) {
	var reported bytes.Buffer
	before := stderr
	stderr = zapcore.Lock(zapcore.AddSync(&reported))
	defer func() { stderr = before }()
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	Escaping(zap.New(zapcore.NewCore(enc, full{}, zap.InfoLevel))).Info("line")
	if !strings.Contains(reported.String(), "disk full") {
		t.Errorf("reported: %q", reported.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }
func (full) Sync() error               { return nil }

func FuzzLogger(f *testing.F) {
	for _, seed := range []string{"", "plain", "\u202e\u2028\u0085\x7f", `\u202e`, "\xff\u009b", "\U000e0041"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, encoder := range encoders {
			log, written := writeTo(encoder.make, zap.DebugLevel)
			log.Info(text, fieldsWith(text)...)
			line := strings.TrimSuffix(written.String(), "\n")
			if r, found := forbidden(line); found {
				t.Errorf("%s: %+q: the line holds %U", encoder.name, text, r)
			}
		}
	})
}

func BenchmarkLogger(b *testing.B) {
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	plain := zap.New(zapcore.NewCore(enc, zapcore.AddSync(discard{}), zap.InfoLevel))
	fields := []zap.Field{zap.String("message_id", "MSG123"), zap.String("status", "DELIVRD"), zap.Int("status_code", 1),
		zap.String("state", "delivered")}
	for _, c := range []struct {
		name string
		log  *zap.Logger
	}{{"plain", plain}, {"escaping", Escaping(plain)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.log.Info("delivery report", fields...)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
