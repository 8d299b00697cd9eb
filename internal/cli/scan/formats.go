// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// format is a way to pack files, or a kind of file that compresses its text.
type format struct {
	name string
	// is reports whether a file of which head is the begin has the format. It is nil for formats without a mark.
	is func(head []byte) bool
	// extension is the end of a file's name, for formats without a mark.
	extension string
	// unpack searches what is packed, in constant memory; nil for formats that are not searched.
	unpack func(p *unpacker, path string, in io.Reader, depth int) error
	// advice is what to do about a format that is not searched; empty for unpackAdvice.
	advice string
}

const (
	unpackAdvice  = "unpack it, and scan what is in it"
	historyAdvice = "run 'git log -p -m --text --all' in its repository, and scan the output"
)

// zipFormat is also the format of files that have a zip archive at their end, such as self-extracting ones.
var zipFormat = format{name: "zip", is: magic("PK\x03\x04", "PK\x05\x06", "PK\x07\x08")}

// formats are those that are known. None of them can be searched as it is, tar aside.
var formats []*format

func init() { // unpack refers to formats
	zipFormat.unpack = (*unpacker).unzip
	formats = []*format{
		{name: "gzip", is: magic("\x1f\x8b"), unpack: stream(func(in io.Reader) (io.Reader, error) { return gzip.NewReader(in) })},
		{name: "bzip2", is: isBzip2, unpack: stream(func(in io.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil })},
		{name: "zlib", is: isZlib, unpack: (*unpacker).inflate},
		&zipFormat,
		{name: "tar", is: isTar, unpack: (*unpacker).untar},
		{name: "xz", is: magic("\xfd7zXZ\x00")},
		{name: "lzma", is: isLZMA},
		{name: "zstd", is: isZstd},
		{name: "7z", is: magic("7z\xbc\xaf\x27\x1c")},
		{name: "rar", is: magic("Rar!\x1a\x07")},
		{name: "lz4", is: magic("\x04\x22\x4d\x18")},
		{name: "lzip", is: magic("LZIP")},
		{name: "lzop", is: magic("\x89LZO\x00\r\n\x1a\n")},
		{name: "compress", is: magic("\x1f\x9d")},
		{name: "snappy", is: magic("\xff\x06\x00\x00sNaPpY")},
		{name: "brotli", extension: ".br"},
		{name: "Cabinet", is: magic("MSCF\x00\x00\x00\x00")},
		{name: "Windows image", is: magic("MSWIM\x00\x00\x00")},
		{name: "xar", is: magic("xar!\x00")},
		{name: "squashfs", is: magic("hsqs", "sqsh")},
		{name: "cramfs", is: magic("\x45\x3d\xcd\x28", "\x28\xcd\x3d\x45")},
		{name: "Debian package", is: magic("!<arch>\ndebian")},
		{name: "RPM package", is: magic("\xed\xab\xee\xdb")},
		{name: "PDF", is: isPDF, advice: "its text is compressed: convert it to text, for example with pdftotext, and scan that"},
		{name: "Git pack", is: magic("PACK\x00\x00\x00", "# v2 git bundle", "# v3 git bundle"), advice: historyAdvice},
	}
}

// formatOf returns the format of a file with a name and a begin; nil for files that are searched as they are.
func formatOf(name string, head []byte) *format {
	for _, f := range formats {
		if f.is != nil && f.is(head) || f.extension != "" && strings.EqualFold(path.Ext(name), f.extension) {
			return f
		}
	}
	return nil
}

func magic(begins ...string) func([]byte) bool {
	return func(head []byte) bool {
		return slices.ContainsFunc(begins, func(begin string) bool { return bytes.HasPrefix(head, []byte(begin)) })
	}
}

func isBzip2(head []byte) bool {
	return len(head) > 10 && bytes.HasPrefix(head, []byte("BZh")) &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17rE8P\x90")
}

// isZlib goes by the header for each level. That of the levels 2 to 5 is "x^", with which a text may begin as well.
func isZlib(head []byte) bool {
	if !bytes.HasPrefix(head, []byte("x^")) {
		return magic("\x78\x01", "\x78\x9c", "\x78\xda")(head)
	}
	begin := head[:min(len(head), 64)]
	for len(begin) < len(head) && len(begin) > 0 && begin[len(begin)-1] >= utf8.RuneSelf {
		begin = begin[:len(begin)-1] // a letter may be cut
	}
	return bytes.ContainsFunc(begin, func(r rune) bool { return r == utf8.RuneError || r < ' ' && !unicode.IsSpace(r) })
}

// isZstd knows the frames that hold nothing as well, which may come first.
func isZstd(head []byte) bool {
	return magic("\x28\xb5\x2f\xfd")(head) || len(head) > 4 && head[0]>>4 == 5 && string(head[1:4]) == "\x2a\x4d\x18"
}

// isLZMA goes by the usual properties and by the size, which is unknown or less than a TiB: the format has no mark.
func isLZMA(head []byte) bool {
	const sizeAt, headerSize = 5, 13
	if len(head) <= headerSize || !bytes.HasPrefix(head, []byte("\x5d\x00\x00")) {
		return false
	}
	size := binary.LittleEndian.Uint64(head[sizeAt:])
	return size == 1<<64-1 || size>>40 == 0
}

// isPDF allows for the white space and the mark that may precede a PDF.
func isPDF(head []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n\x00"), []byte("%PDF-"))
}

// isTar goes by the checksum of the header: old archives have no other sign.
func isTar(head []byte) bool {
	const begin, end = 148, 156
	if len(head) < headSize {
		return false
	}
	sum, err := strconv.ParseInt(strings.Trim(string(head[begin:end]), " \x00"), 8, 64)
	for i, c := range head {
		if i >= begin && i < end {
			c = ' '
		}
		sum -= int64(c)
	}
	return err == nil && sum == 0
}

func isSparse(header *tar.Header) bool {
	for name := range header.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return header.Typeflag == tar.TypeGNUSparse
}
