package harness

import "strings"

// CGIName returns the name under which a CGI, WSGI or PHP application sees a
// header, in lower case and without HTTP_. These servers fold the case and turn
// every character that is not a letter or a digit into an underscore, so they
// read X_Verified.Number and X-Verified-Number as the same header.
func CGIName(header string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, header)
}
