// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"k8s.io/utils/clock"
)

const (
	// http2Allowance is one stream with a message of usual size: a connection with small requests goes on, one after the
	// other, while others have exhausted the budget.
	http2Allowance = streamCost + 20<<10
	// streamCost is what a stream takes in grpc-go, with headers of MaxHeaderList that are all names.
	streamCost = 44 << 10
	// frameCost is what grpc-go keeps for each DATA frame beside its bytes. Without it, a message sent in frames of one byte
	// would take a hundred times the memory that was counted.
	frameCost = 160
	// http2Buffer is the size of the buffer for reads. It is also large enough for whole small requests.
	http2Buffer = 4 << 10
	// writeTimeout is how long a client may leave its answers unread.
	writeTimeout = 10 * time.Second

	frameHeader   = 9
	clientPreface = len(http2.ClientPreface)
)

// MaxHeaderList is the size of a header list, as HTTP/2 counts it, for which HTTP2 accounts.
const MaxHeaderList = 8 << 10

const (
	// maxFrame is the size of a frame in bytes that HTTP/2 allows without negotiation.
	maxFrame = 16 << 10
	// maxSettings is many times what a client sends. grpc-go queues the settings of several frames while it cannot write.
	maxSettings = 600
)

var (
	errUnfinished = errors.New("too many streams on this connection are neither finished nor reset")
	errSettings   = errors.New("a SETTINGS frame is larger than 600 bytes")
)

// maxUnfinished bounds the streams that are counted: far more than a server allows at once.
const maxUnfinished = 1024

// http2Connection counts what the streams of a connection take, from their HEADERS to their end. It reads the headers of the
// frames in both directions. A frame for which there is no memory is not delivered before other streams have ended.
type http2Connection struct {
	net.Conn
	account *Account

	// The reader's. pending is what was read and not delivered; payload how much of it belongs to a frame that was paid for.
	buffer  [http2Buffer]byte
	pending []byte
	payload int
	// opened is the stream of the last HEADERS that were delivered.
	opened uint32

	// The writer's: how much of the payload of a frame is still to come, and the part of a frame header that is there.
	writing int
	partial []byte

	mutex sync.Mutex
	// streams are those that are not finished.
	streams map[uint32]stream
}

// stream is what a stream has taken, and why it is not finished.
type stream struct {
	taken int
	// handled means that a handler works on it; reset that it ends without an answer.
	handled, reset bool
}

// HTTP2 makes a connection of an HTTP/2 server count what its streams take. With TLS it is the one after the handshake.
func HTTP2(connection net.Conn, budget *Budget) net.Conn {
	return &http2Connection{Conn: connection, account: budget.NewAccount(http2Allowance), payload: clientPreface, partial: make([]byte, 0, frameHeader), streams: map[uint32]stream{}}
}

func (c *http2Connection) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		if err := c.fill(1); err != nil {
			return 0, err
		}
	}
	if c.payload == 0 {
		if err := c.fill(frameHeader); err != nil {
			return 0, err
		}
		if err := c.pay(parseFrame(c.pending)); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending[:min(len(c.pending), c.payload)])
	c.pending, c.payload = c.pending[n:], c.payload-n
	return n, nil
}

// fill reads until that many bytes are pending.
func (c *http2Connection) fill(least int) error {
	if len(c.pending) < least {
		c.pending = c.buffer[:copy(c.buffer[:], c.pending)]
	}
	for len(c.pending) < least {
		n, err := c.Conn.Read(c.buffer[len(c.pending):])
		c.pending = c.buffer[:len(c.pending)+n]
		if err != nil && len(c.pending) < least {
			return err
		}
	}
	return nil
}

// pay takes what a frame of the client needs, and lets its bytes be delivered.
func (c *http2Connection) pay(f http2.FrameHeader) error {
	cost := 0
	switch f.Type {
	case http2.FrameHeaders:
		cost, c.opened = streamCost, f.StreamID
	case http2.FrameData:
		cost = dataCost(int(f.Length))
	case http2.FrameRSTStream:
		c.reset(f.StreamID)
	case http2.FrameSettings:
		if f.Length > maxSettings {
			return errSettings
		}
	}
	// The server ends a connection with a larger frame without reading it.
	if cost > 0 && f.Length <= maxFrame {
		if err := c.charge(f, cost); err != nil {
			return err
		}
	}
	c.payload = frameHeader + int(f.Length)
	return nil
}

// charge takes what a stream needs. DATA of a stream that has ended is dropped, and takes nothing.
func (c *http2Connection) charge(f http2.FrameHeader, cost int) error {
	c.mutex.Lock()
	_, known := c.streams[f.StreamID]
	unfinished := len(c.streams)
	c.mutex.Unlock()
	switch {
	case known == (f.Type == http2.FrameHeaders):
		return nil // what is wrong with such a frame, the server tells
	case unfinished >= maxUnfinished:
		return errUnfinished
	}
	if err := c.account.Take(cost, longestWait); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if is, still := c.streams[f.StreamID]; f.Type == http2.FrameHeaders || still {
		is.taken += cost
		c.streams[f.StreamID] = is
		return nil
	}
	c.account.Give(cost) // it ended meanwhile
	return nil
}

// dataCost returns what grpc-go takes for a DATA frame: its buffers have the sizes of mem.DefaultBufferPool.
func dataCost(length int) int {
	switch {
	case length <= 1<<10:
		return length + frameCost
	case length <= 4<<10:
		return 4<<10 + frameCost
	}
	return maxFrame + frameCost
}

// Write notes which streams end with it.
func (c *http2Connection) Write(p []byte) (int, error) {
	// A client that reads nothing must not hold what its streams have taken.
	if err := c.SetWriteDeadline(clock.RealClock{}.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	for p = p[:n]; len(p) > 0; {
		if c.writing > 0 {
			passed := min(c.writing, len(p))
			c.writing, p = c.writing-passed, p[passed:]
			continue
		}
		taken := min(frameHeader-len(c.partial), len(p))
		c.partial, p = append(c.partial, p[:taken]...), p[taken:]
		if len(c.partial) == frameHeader {
			f := parseFrame(c.partial)
			c.writing, c.partial = int(f.Length), c.partial[:0]
			switch {
			case f.Type == http2.FrameRSTStream:
				c.reset(f.StreamID) // a client can provoke it while the handler works
			case ends(f):
				c.finish(f.StreamID)
			}
		}
	}
	return n, err
}

// ends reports whether a frame of the server is the last of an answer.
func ends(f http2.FrameHeader) bool {
	switch f.Type {
	case http2.FrameHeaders:
		return f.Flags.Has(http2.FlagHeadersEndStream)
	case http2.FrameData:
		return f.Flags.Has(http2.FlagDataEndStream)
	}
	return false
}

// finish returns what a stream has taken: the server has answered, or no handler will.
func (c *http2Connection) finish(id uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.forget(id)
}

func (c *http2Connection) forget(id uint32) {
	if is, known := c.streams[id]; known {
		delete(c.streams, id)
		c.account.Give(is.taken)
	}
}

// reset notes that the client, or the server, has reset the stream. A handler keeps what the stream has taken until it ends.
func (c *http2Connection) reset(id uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	is := c.streams[id]
	if !is.handled {
		c.forget(id)
		return
	}
	is.reset = true
	c.streams[id] = is
}

// handle notes that a handler works on a stream.
func (c *http2Connection) handle(id uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if is, known := c.streams[id]; known {
		is.handled = true
		c.streams[id] = is
	}
}

// handled notes that the handler of a stream has ended.
func (c *http2Connection) handled(id uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	is, known := c.streams[id]
	switch {
	case is.reset:
		c.forget(id)
	case known:
		is.handled = false
		c.streams[id] = is
	}
}

// RemoteAddr implements net.Conn, for Calls.
func (c *http2Connection) RemoteAddr() net.Addr { return clientAddress{c.Conn.RemoteAddr(), c} }

// Close returns all that the streams have taken.
func (c *http2Connection) Close() error {
	c.account.Close()
	return c.Conn.Close()
}

// parseFrame reads the header of a frame.
func parseFrame(header []byte) http2.FrameHeader {
	return http2.FrameHeader{
		Length: uint32(header[0])<<16 | uint32(header[1])<<8 | uint32(header[2]),
		Type:   http2.FrameType(header[3]), Flags: http2.Flags(header[4]),
		StreamID: (uint32(header[5])<<24 | uint32(header[6])<<16 | uint32(header[7])<<8 | uint32(header[8])) & (1<<31 - 1),
	}
}
