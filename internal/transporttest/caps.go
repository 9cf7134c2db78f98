package transporttest

// Capability names one line of the drop-in contract that not every transport
// keeps. A transport is held to all of them unless its Caps say otherwise.
type Capability string

// Messages.
const (
	// ExactHeaders: header keys and values arrive byte for byte. HTTP
	// canonicalises keys, so that Micro-ID becomes Micro-Id, and cannot carry
	// line breaks or bytes that are not header text.
	ExactHeaders Capability = "ExactHeaders"
	// OwnHeaders: a reply carries the headers of that reply only. The http
	// transport adds those of the first request on the connection.
	OwnHeaders Capability = "OwnHeaders"
	// HeadersNeverNil: after Recv the header map can be written to. The memory
	// transport leaves it nil when the message had none.
	HeadersNeverNil Capability = "HeadersNeverNil"
	// NilRecvRefused: Recv(nil) is an error and loses nothing. The memory
	// transport swallows a message.
	NilRecvRefused Capability = "NilRecvRefused"
	// FreshMessages: Recv into a used Message leaves what the previous Recv
	// handed out alone, and leaves nothing of it behind. The http transport
	// merges into the old header map, the memory transport also into the old
	// body.
	FreshMessages Capability = "FreshMessages"
	// PooledCalls: go-micro calls may follow each other on one connection.
	// Over http they get lost now and then: the server looks for Micro-ID,
	// does not find it under Micro-Id, and takes a call that comes before the
	// one before it is cleaned up for a part of that one. RunRPC gives clients
	// of such a transport a pool of size nought.
	PooledCalls Capability = "PooledCalls"
	// AtomicSends: messages sent at the same time on one socket arrive whole.
	// The http transport writes a message in several pieces without a lock.
	AtomicSends Capability = "AtomicSends"
)

// Life and death of a socket.
const (
	// CloseUnblocksRecv: Close ends a Recv in progress with exactly io.EOF. On
	// http it ends with the error of the network connection, on memory never.
	CloseUnblocksRecv Capability = "CloseUnblocksRecv"
	// CloseUnblocksSend: a client's Close ends a Send that waits for the peer
	// to read. Memory waits for the reader for ever.
	CloseUnblocksSend Capability = "CloseUnblocksSend"
	// ServerCloseUnblocksSend: the same for a server's socket, where the http
	// transport's Close waits for the lock that the blocked Send holds.
	ServerCloseUnblocksSend Capability = "ServerCloseUnblocksSend"
	// ServerCloseIsLocal: after a server socket's Close its own Recv is io.EOF
	// and its own Send fails. Close of the http transport closes the body of
	// the first request, and the connection goes on.
	ServerCloseIsLocal Capability = "ServerCloseIsLocal"
	// PeerSeesClose: after a server socket's Close the client's Recv ends,
	// though the handler still runs. The http connection ends with the
	// handler, a memory pipe never.
	PeerSeesClose Capability = "PeerSeesClose"
	// CleanEOF: when the client closes between two messages, the server's Recv
	// returns exactly io.EOF. The http transport wraps it, the memory
	// transport does not notice.
	CleanEOF Capability = "CleanEOF"
	// ConcurrentClose: Close may run beside anything, itself included. Two
	// Closes at once make the memory transport close a channel twice, which
	// ends the process.
	ConcurrentClose Capability = "ConcurrentClose"
	// IdempotentClose: a second Close is nil. The http transport reports that
	// the connection is closed.
	IdempotentClose Capability = "IdempotentClose"
	// Timeouts: the Timeout option bounds each Send and each Recv. The memory
	// transport looks at it before the operation only.
	Timeouts Capability = "Timeouts"
)

// Addresses.
const (
	// HostNames: a host name can be dialled. Memory addresses are map keys.
	HostNames Capability = "HostNames"
	// PooledByName: Remote of a client is the dialled string even when that
	// was a host name; util/pool files connections under it. The http
	// transport says the IP address, the memory transport cannot be dialled.
	PooledByName Capability = "PooledByName"
	// PortRanges: ":min-max" takes the first free port. The memory transport
	// takes the range for a port.
	PortRanges Capability = "PortRanges"
	// ConnCloseHeader: WithConnClose reaches the server as the header
	// "Connection: close". The memory transport ignores the option.
	ConnCloseHeader Capability = "ConnCloseHeader"
)

// Listeners.
const (
	// AcceptNil: Accept returns nil after Close. The http transport returns
	// the error of the closed network listener.
	AcceptNil Capability = "AcceptNil"
	// PortReuse: the address is free once Close has returned. The memory
	// transport never forgets a listener.
	PortReuse Capability = "PortReuse"
	// CloseEndsSockets: Close of the listener ends its sockets. The http
	// transport gave the connections away; a memory pipe stays blocked.
	CloseEndsSockets Capability = "CloseEndsSockets"
	// HandlerReturnCloses: the socket closes when its handler returns. The
	// memory transport leaves it open.
	HandlerReturnCloses Capability = "HandlerReturnCloses"
	// PanicContained: a panic in a handler ends that socket only. In the
	// memory transport it ends the process.
	PanicContained Capability = "PanicContained"
)

// Caps says where a transport is known to break the contract. The zero value
// claims all of it.
type Caps struct {
	// Off gives the reason for each capability that the transport lacks. Its
	// checks still run, and fail when the deviation is gone, so that the list
	// stays true. The few that would end the process or that go wrong only by
	// chance are reported in the log instead.
	Off map[Capability]string
	// Leaks gives, for functions whose goroutines the transport never ends,
	// the reason. Goroutines with such a function on their stack are not
	// counted at the end.
	Leaks map[string]string
}

// HTTP describes go-micro's http transport, v4.11.0.
func HTTP() Caps {
	return Caps{Off: map[Capability]string{
		ExactHeaders:            "net/http canonicalises header keys",
		PooledCalls:             "server/rpc_server.go finds no Micro-ID, so that all calls of a connection share one id",
		OwnHeaders:              "http_socket.go copies the first request's headers into each response",
		FreshMessages:           "http_client.go and http_socket.go add to the caller's header map",
		AtomicSends:             "http_client.go and http_socket.go write a message in pieces and without a lock",
		CloseUnblocksRecv:       "http_client.go returns the closed connection's error",
		ServerCloseUnblocksSend: "http_socket.go waits in Close for the lock that Send holds",
		ServerCloseIsLocal:      "http_socket.go closes the request's body, not the connection",
		PeerSeesClose:           "http_listener.go closes the connection when the handler returns",
		CleanEOF:                "http_socket.go wraps the error of ReadRequest",
		IdempotentClose:         "http_client.go and http_listener.go close the network connection again",
		PooledByName:            "http_transport.go gives the connection's IP address as Remote",
		AcceptNil:               "http_listener.go returns the error of Serve",
		CloseEndsSockets:        "http_listener.go closes the listener, hijacked connections live on",
	}}
}

// Memory describes go-micro's memory transport, v4.11.0.
func Memory() Caps {
	return Caps{
		Off: map[Capability]string{
			HeadersNeverNil:         "gob omits an empty map",
			NilRecvRefused:          "gob decodes into nil by discarding the value",
			FreshMessages:           "gob decodes into the map and the slice that it finds, and omits empty ones",
			CloseUnblocksRecv:       "memory.go looks at its exit channel before it reads, not while",
			CloseUnblocksSend:       "memory.go looks at its exit channel before it writes, not while",
			ServerCloseUnblocksSend: "memory.go looks at its exit channel before it writes, not while",
			PeerSeesClose:           "memory.go never closes its pipes",
			CleanEOF:                "memory.go never closes its pipes",
			ConcurrentClose:         "memory.go tests and closes its exit channel without a lock",
			Timeouts:                "memory.go tests its deadline before the operation, not while",
			HostNames:               "memory.go looks the dialled string up in a map",
			PooledByName:            "memory.go cannot be dialled by host name",
			PortRanges:              "memory.go takes min-max for a port",
			ConnCloseHeader:         "memory.go has no use for the option",
			PortReuse:               "memory.go never removes a listener from its map",
			CloseEndsSockets:        "memory.go looks at the listener's exit channel before it reads, not while",
			HandlerReturnCloses:     "memory.go starts the handler and forgets it",
			PanicContained:          "memory.go starts the handler without recover",
		},
		Leaks: map[string]string{
			"io.(*pipe).read":  "a Recv in progress is never ended",
			"io.(*pipe).write": "a Send in progress is never ended",
			"github.com/patrickmn/go-cache.(*janitor).Run": "a client that such a Recv or Send holds is never collected",
		},
	}
}
