package request

import (
	"net/http"
	"time"
)

// MaxBody bounds what is posted to the gate's endpoints, in bytes.
const MaxBody = 8 << 10

// BodyTime bounds how long its arrival may take.
var BodyTime = 10 * time.Second // tests shorten it

// LimitBody bounds how long the body of a request that ends here may take,
// also where nobody reads it: net/http does, before it sends the answer, and a
// body that trickles in would keep the connection.
func LimitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // else the deadline would end a status stream
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(BodyTime)) // where it can be set
	}
}
