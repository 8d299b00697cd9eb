// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
)

// embeddedFormat is an archive that may stand behind something else, as in a self-extracting one.
type embeddedFormat struct {
	name, magic string
	// is reports whether an archive begins at a place where the magic is; at is the offset in the file. It has to be strict: programs
	// that know the format have the magic among their constants.
	is func(header []byte, at int64) bool
	// inScripts is true if the format counts only in a shell script, at the begin of a line: its header has little to check.
	inScripts bool
}

// maxZipEnd is the size of the end of a zip archive with the longest comment.
const maxZipEnd = 22 + 1<<16 - 1

// headerSize is how many bytes of an embedded archive decide.
const headerSize = 64

var embeddedFormats = []embeddedFormat{
	{name: "zip", magic: "PK\x05\x06", is: isZipEnd},
	{name: "7z", magic: "7z\xbc\xaf\x27\x1c\x00", is: func(h []byte, _ int64) bool { return crc32.ChecksumIEEE(h[12:32]) == binary.LittleEndian.Uint32(h[8:]) }},
	{name: "xz", magic: "\xfd7zXZ\x00\x00", is: func(h []byte, _ int64) bool { return crc32.ChecksumIEEE(h[6:8]) == binary.LittleEndian.Uint32(h[8:]) }},
	{name: "rar", magic: "Rar!\x1a\x07\x00", is: func(h []byte, _ int64) bool {
		const size = 13
		return h[9] == 0x73 && h[12] == size && uint16(crc32.ChecksumIEEE(h[9:7+size])) == binary.LittleEndian.Uint16(h[7:])
	}},
	{name: "rar", magic: "Rar!\x1a\x07\x01\x00", is: func(h []byte, _ int64) bool {
		size := int(h[12])
		return size < headerSize-13 && crc32.ChecksumIEEE(h[12:13+size]) == binary.LittleEndian.Uint32(h[8:])
	}},
	{name: "Cabinet", magic: "MSCF\x00\x00\x00\x00", is: func(h []byte, _ int64) bool {
		return binary.LittleEndian.Uint32(h[12:]) == 0 && binary.LittleEndian.Uint32(h[20:]) == 0 && h[24] <= 3 && h[25] == 1
	}},
	{name: "squashfs", magic: "hsqs", is: func(h []byte, _ int64) bool {
		blockLog := binary.LittleEndian.Uint16(h[22:])
		return blockLog >= 12 && blockLog <= 20 && binary.LittleEndian.Uint32(h[12:]) == 1<<blockLog && binary.LittleEndian.Uint32(h[28:]) == 4
	}},
	{name: "Apple disk image", magic: "koly\x00\x00\x00\x04\x00\x00\x02\x00", is: func(h []byte, at int64) bool {
		length := binary.BigEndian.Uint64(h[32:])
		return bytes.Equal(h[12:32], append([]byte{0, 0, 0, 1}, make([]byte, 16)...)) && length > 0 && length <= uint64(at)
	}},
	{name: "gzip", magic: "\n\x1f\x8b\x08", is: func(h []byte, _ int64) bool { return h[4]&0xe0 == 0 }, inScripts: true},
	{name: "bzip2", magic: "\nBZh", is: func(h []byte, _ int64) bool { return isBzip2(h[1:]) }, inScripts: true},
	{name: "zstd", magic: "\n\x28\xb5\x2f\xfd", is: func([]byte, int64) bool { return true }, inScripts: true},
	{name: "lz4", magic: "\n\x04\x22\x4d\x18", is: func([]byte, int64) bool { return true }, inScripts: true},
}

// isZipEnd reports whether the end of a zip archive begins at an offset of a file: a table of contents with entries, in one volume, that
// fits in front of it.
func isZipEnd(h []byte, at int64) bool {
	const minEntry, zip64 = 46, 1<<32 - 1
	volume, entries := binary.LittleEndian.Uint32(h[4:]), int64(binary.LittleEndian.Uint16(h[8:]))
	size, begin := int64(binary.LittleEndian.Uint32(h[12:])), int64(binary.LittleEndian.Uint32(h[16:]))
	switch {
	case volume != 0, entries == 0, entries != int64(binary.LittleEndian.Uint16(h[10:])):
		return false
	case size == zip64 || begin == zip64:
		return true
	}
	return size >= entries*minEntry && begin+size <= at
}

// embeddedReader notes the archives that begin somewhere in what is read through it.
type embeddedReader struct {
	in io.Reader
	// names are those of the formats that were found. zipEnd is the offset at which the last zip archive may end; 0 if there is none. It
	// counts if it is near the end of the file: elsewhere programs have tables in this form, such as Go's time zones.
	names  []string
	zipEnd int64
	// buffer is what was read and not looked at yet; at is its offset in the file.
	buffer []byte
	at     int64
	// isScript is true if what is read begins as a script does.
	isScript bool
}

func (e *embeddedReader) Read(into []byte) (int, error) {
	n, err := e.in.Read(into)
	e.buffer = append(e.buffer, into[:n]...)
	// A header may go on in the next part. At the end it may be cut.
	whole := len(e.buffer) - headerSize
	if err != nil {
		whole = len(e.buffer)
		e.buffer = append(e.buffer, make([]byte, headerSize)...)
	}
	if whole > 0 {
		e.look(whole)
		e.at += int64(whole)
		e.buffer = append(e.buffer[:0], e.buffer[whole:]...)
	}
	if err != nil && e.zipEnd > 0 && e.at-e.zipEnd <= maxZipEnd {
		e.names, e.zipEnd = append(e.names, zipFormat.name), 0
	}
	return n, err
}

// look looks for archives that begin before an index of the buffer.
func (e *embeddedReader) look(before int) {
	if e.at == 0 {
		e.isScript = bytes.HasPrefix(e.buffer, []byte("#!"))
	}
	for _, f := range embeddedFormats {
		if f.inScripts && !e.isScript || slices.Contains(e.names, f.name) {
			continue
		}
		for i := 0; ; i++ {
			n := bytes.Index(e.buffer[i:], []byte(f.magic))
			if i += n; n < 0 || i >= before {
				break
			}
			at := e.at + int64(i)
			if !f.is(e.buffer[i:i+headerSize], at) {
				continue
			}
			if f.name != zipFormat.name {
				e.names = append(e.names, f.name)
				break
			}
			e.zipEnd = at
		}
	}
}
