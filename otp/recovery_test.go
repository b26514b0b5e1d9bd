package otp

import (
	"strings"
	"testing"
)

// A recovery code is read in the spellings that people use, and no other text is
// taken for one.
func TestRecoveryCodeAsTyped(t *testing.T) {
	bits := []byte{0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6}
	code := recoveryText.EncodeToString(bits)
	if len(code) != 13 {
		t.Fatalf("the code has %d characters", len(code))
	}
	if got := grouped(code); len(got) != 16 || strings.ReplaceAll(got, "-", "") != code {
		t.Errorf("it is written %q", got)
	}
	confused := strings.NewReplacer("0", "o", "1", "l").Replace(strings.ToLower(code))
	for _, typed := range []string{code, grouped(code), strings.ToLower(code),
		" " + strings.ReplaceAll(grouped(code), "-", " ") + "\n", confused, strings.Replace(confused, "l", "i", 1)} {
		if got, ok := recoveryCode(typed); !ok || got != code {
			t.Errorf("%q is taken for %q, %t", typed, got, ok)
		}
	}
	for _, typed := range []string{"", "123456", code[:12], code + "0", "U" + code[1:], code[:12] + "1", "ÄÖÜ", strings.Repeat("0", 1000)} {
		if got, ok := recoveryCode(typed); ok && got != code {
			t.Errorf("%q is taken for a code", typed)
		}
	}
}

func FuzzRecoveryCode(f *testing.F) {
	f.Add("0123-4567-89AB-C")
	f.Add("oil")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := recoveryCode(typed)
		if !ok {
			return
		}
		if again, ok := recoveryCode(grouped(code)); !ok || again != code {
			t.Errorf("%q is %q, which is %q", typed, code, again)
		}
	})
}
