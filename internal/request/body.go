package request

import (
	"net/http"
	"time"
)

// MaxBody is the largest body of a post to the gate's endpoints, in bytes.
const MaxBody = 8 << 10

// BodyTime is how long the body of such a post may take to arrive.
var BodyTime = 10 * time.Second // tests shorten it

// LimitBody gives the body of a request BodyTime to arrive. Call it for each request
// that the gate answers itself, even if the gate does not read the body. net/http reads
// the rest of a body before it sends the answer, so a slow body would keep the
// connection.
func LimitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // a deadline for a request without a body would end a status stream
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(BodyTime)) // some writers have no deadline
	}
}
