// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// sentence is a connection of which the client has sent some bytes, and reads nothing.
type sentence struct {
	net.Conn
	sent io.Reader
	got  bytes.Buffer
}

func (s *sentence) Read(p []byte) (int, error)       { return s.sent.Read(p[:min(len(p), 7)]) }
func (s *sentence) Write(p []byte) (int, error)      { return s.got.Write(p) }
func (s *sentence) SetWriteDeadline(time.Time) error { return nil }
func (s *sentence) Close() error                     { return nil }

// speak returns a connection over which a client sends frames, and what it sends.
func speak(t *testing.T, b *Budget, frames func(*http2.Framer) error) (*http2Connection, string) {
	t.Helper()
	var sent bytes.Buffer
	sent.WriteString(http2.ClientPreface)
	if err := frames(http2.NewFramer(&sent, nil)); err != nil {
		t.Fatal(err)
	}
	text := sent.String()
	return HTTP2(&sentence{sent: &sent}, b).(*http2Connection), text
}

func open(stream uint32) http2.HeadersFrameParam {
	return http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte("block"), EndHeaders: true}
}

func TestHTTP2_CountsStreamsUntilTheyEnd(t *testing.T) {
	const size = 1 << 20
	for name, tc := range map[string]struct {
		client func(*http2.Framer) error
		server func(*http2.Framer) error
		handle func(*http2Connection)
		want   int
	}{
		"headers": {client: func(f *http2.Framer) error { return f.WriteHeaders(open(1)) }, want: streamCost},
		"DATA": {client: func(f *http2.Framer) error {
			return errors.Join(f.WriteHeaders(open(1)), f.WriteData(1, false, make([]byte, 100)), f.WriteData(1, true, make([]byte, 2000)))
		}, want: streamCost + 100 + 4<<10 + 2*frameCost},
		"DATA of no stream": {client: func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 100)) }},
		"an answer": {
			client: func(f *http2.Framer) error { return f.WriteHeaders(open(1)) },
			server: func(f *http2.Framer) error {
				return errors.Join(f.WriteHeaders(open(1)), f.WriteData(1, false, []byte("answer")),
					f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("trailers"), EndHeaders: true, EndStream: true}))
			},
		},
		"half an answer": {
			client: func(f *http2.Framer) error { return f.WriteHeaders(open(1)) },
			server: func(f *http2.Framer) error {
				return errors.Join(f.WriteHeaders(open(1)), f.WriteData(1, false, []byte("answer")))
			}, want: streamCost,
		},
		"a reset by the server": {
			client: func(f *http2.Framer) error { return f.WriteHeaders(open(1)) },
			server: func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeCancel) },
		},
		"a reset by the client": {client: func(f *http2.Framer) error {
			return errors.Join(f.WriteHeaders(open(1)), f.WriteRSTStream(1, http2.ErrCodeCancel))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(size)
			c, sent := speak(t, b, tc.client)
			got, err := io.ReadAll(c)
			if err != nil || string(got) != sent {
				t.Errorf("%v; read %q of %q", err, got, sent)
			}
			if tc.server != nil {
				var answer bytes.Buffer
				if err := tc.server(http2.NewFramer(&answer, nil)); err != nil {
					t.Fatal(err)
				}
				for content := answer.Bytes(); len(content) > 0; content = content[min(5, len(content)):] {
					if _, err := c.Write(content[:min(5, len(content))]); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c.account.used != tc.want {
				t.Errorf("%d bytes are taken, want %d", c.account.used, tc.want)
			}
			_ = c.Close()
			if b.Free() != size {
				t.Errorf("%d bytes are free after the end", b.Free())
			}
		})
	}
}

// TestHTTP2_KeepsWhatAHandlerTakes: a client that resets each stream at once, or has the server reset it, must not start handlers without bound.
func TestHTTP2_KeepsWhatAHandlerTakes(t *testing.T) {
	for name, reset := range map[string]func(c *http2Connection) error{
		"a reset by the client": func(c *http2Connection) error {
			c.reset(1)
			return nil
		},
		"a reset by the server": func(c *http2Connection) error {
			return http2.NewFramer(c, nil).WriteRSTStream(1, http2.ErrCodeProtocol)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := speak(t, NewBudget(1<<20), func(f *http2.Framer) error { return f.WriteHeaders(open(1)) })
			if _, err := io.ReadAll(c); err != nil {
				t.Fatal(err)
			}
			c.handle(1)
			if err := reset(c); err != nil {
				t.Fatal(err)
			}
			if c.account.used != streamCost {
				t.Errorf("%d bytes are taken while the handler works", c.account.used)
			}
			c.handled(1)
			if c.account.used != 0 || len(c.streams) != 0 {
				t.Errorf("%d bytes are taken after it", c.account.used)
			}
		})
	}
}

// TestHTTP2_DeliversAFrameOnceThereIsMemory: frame by frame, so that the first streams can end.
func TestHTTP2_DeliversAFrameOnceThereIsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sent := speak(t, NewBudget(0), func(f *http2.Framer) error { return errors.Join(f.WriteHeaders(open(1)), f.WriteHeaders(open(3))) })
		read := 0
		var failed error
		go func() {
			for failed == nil {
				n, err := c.Read(make([]byte, 100))
				read, failed = read+n, err
			}
		}()
		synctest.Wait()
		if want := len(sent) - frameHeader - len("block"); read != want {
			t.Errorf("%d bytes are delivered, want %d", read, want)
		}
		c.finish(1)
		synctest.Wait()
		if read != len(sent) || !errors.Is(failed, io.EOF) {
			t.Errorf("%d bytes of %d are delivered after a stream ended: %v", read, len(sent), failed)
		}
		stuck, _ := speak(t, NewBudget(0), func(f *http2.Framer) error { return errors.Join(f.WriteHeaders(open(1)), f.WriteHeaders(open(3))) })
		if _, err := io.ReadAll(stuck); !errors.Is(err, ErrExhausted) {
			t.Errorf("where no stream ends: %v", err)
		}
	})
}

func TestHTTP2_EndsConnectionsThatAreHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		client func(*http2.Framer) error
		want   error
	}{
		"streams without an end": {func(f *http2.Framer) error {
			for i := range uint32(maxUnfinished + 1) {
				if err := f.WriteHeaders(open(2*i + 1)); err != nil {
					return err
				}
			}
			return nil
		}, errUnfinished},
		"a large SETTINGS frame": {func(f *http2.Framer) error { return f.WriteSettings(make([]http2.Setting, 200)...) }, errSettings},
	} {
		c, _ := speak(t, NewBudget(1<<30), tc.client)
		if _, err := io.ReadAll(c); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A frame that the server does not read takes nothing, and waits for nothing.
	c, _ := speak(t, NewBudget(0), func(f *http2.Framer) error {
		return errors.Join(f.WriteHeaders(open(1)), f.WriteData(1, false, make([]byte, maxFrame+1)))
	})
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}
