// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	// headSize is how much of a file says what it is: the first header of a tar archive.
	headSize = 512
	// maxPacked is how deep archives in archives are searched.
	maxPacked = 4
	// maxInMemory bounds a zip archive that cannot be read in any order, and the table of contents of one that can.
	maxInMemory = 32 << 20
)

// format is a way to pack files. What it packs is searched by unpack, in constant memory; nil where it is not searched.
type format struct {
	name   string
	is     func(head []byte) bool
	unpack func(p *unpacker, path string, in io.Reader, depth int) error
}

// formats are those that are known. None of them can be searched as it is, tar aside.
var formats []format

func init() { // unpack refers to formats
	formats = []format{
		{"gzip", magic("\x1f\x8b"), stream(func(in io.Reader) (io.Reader, error) { return gzip.NewReader(in) })},
		{"bzip2", isBzip2, stream(func(in io.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil })},
		{"zlib", magic("\x78\x01", "\x78\x9c", "\x78\xda"), stream(func(in io.Reader) (io.Reader, error) { return zlib.NewReader(in) })},
		{"zip", magic("PK\x03\x04", "PK\x05\x06", "PK\x07\x08"), (*unpacker).unzip},
		{"tar", isTar, (*unpacker).untar},
		{"xz", magic("\xfd7zXZ\x00"), nil},
		{"zstd", isZstd, nil},
		{"7z", magic("7z\xbc\xaf\x27\x1c"), nil},
		{"rar", magic("Rar!\x1a\x07"), nil},
		{"lz4", magic("\x04\x22\x4d\x18"), nil},
		{"lzip", magic("LZIP"), nil},
		{"compress", magic("\x1f\x9d"), nil},
		{"Debian package", magic("!<arch>\ndebian"), nil},
		{"RPM package", magic("\xed\xab\xee\xdb"), nil},
		{"Git pack", magic("PACK\x00\x00\x00", "# v2 git bundle", "# v3 git bundle"), nil},
	}
}

func magic(begins ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, begin := range begins {
			if bytes.HasPrefix(head, []byte(begin)) {
				return true
			}
		}
		return false
	}
}

func isBzip2(head []byte) bool {
	return len(head) > 10 && bytes.HasPrefix(head, []byte("BZh")) &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17rE8P\x90")
}

// isZstd knows the frames that hold nothing as well, which may come first.
func isZstd(head []byte) bool {
	return magic("\x28\xb5\x2f\xfd")(head) || len(head) > 4 && head[0]>>4 == 5 && string(head[1:4]) == "\x2a\x4d\x18"
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

func formatOf(head []byte) *format {
	for i := range formats {
		if formats[i].is(head) {
			return &formats[i]
		}
	}
	return nil
}

// unpacker searches one file, and all files that are packed in it.
type unpacker struct {
	*scan
	path string
	// file is the file itself, where it can be read in any order.
	file *os.File
	// left is how many bytes may still be unpacked. Only boundedReader counts it down.
	left int64
	// isOver is true once the file was listed because it expands to more than --max-size.
	isOver bool
}

// errTooLarge ends what expands to more than --max-size.
var errTooLarge = errors.New("it expands to more than --max-size: the rest is not searched; unpack it, and scan what is in it")

// read searches in, and the files that are packed in it, depth archives deep.
func (p *unpacker) read(path string, in io.Reader, depth int) {
	buffered := bufio.NewReaderSize(in, headSize)
	head, _ := buffered.Peek(headSize) // an error comes again when it is read
	f := formatOf(head)
	switch {
	case f == nil:
	case f.unpack == nil:
		p.notSearched(path, fmt.Errorf("%s: unpack it, and scan what is in it", f.name))
	case depth == maxPacked:
		p.notSearched(path, fmt.Errorf("%s in more than %d others: unpack it, and scan what is in it", f.name, maxPacked))
	default:
		if err := f.unpack(p, path, buffered, depth+1); err != nil {
			p.notSearched(path, fmt.Errorf("%s: %w", f.name, err))
		} else {
			return
		}
	}
	// Something may stand in it as it is, and it may not be what it looks like.
	p.search(path, buffered)
}

// notSearched lists a path as not searched. A file that expands to too much is listed once, for all that is packed in it.
func (p *unpacker) notSearched(path string, err error) {
	if errors.Is(err, errTooLarge) {
		if p.isOver {
			return
		}
		p.isOver, path = true, p.path
	}
	p.scan.notSearched(path, err)
}

func (p *unpacker) search(path string, in io.Reader) {
	size, err := search(in, func(m match) { p.found(path, m) })
	p.result.Bytes += size
	if err != nil {
		p.notSearched(path, err)
	}
}

// boundedReader bounds how much is unpacked, and fails when the context ends.
type boundedReader struct {
	*unpacker
	in io.Reader
}

func (e boundedReader) Read(into []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := e.in.Read(into)
	if e.left -= int64(n); e.limit > 0 && e.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// stream makes a format of one that packs a single stream.
func stream(open func(io.Reader) (io.Reader, error)) func(*unpacker, string, io.Reader, int) error {
	return func(p *unpacker, path string, in io.Reader, depth int) error {
		unpacked, err := open(in)
		if err != nil {
			return err
		}
		p.read(path, boundedReader{p, unpacked}, depth)
		return nil
	}
}

// untar searches the files of a tar archive, and what comes behind its end.
func (p *unpacker) untar(path string, in io.Reader, depth int) error {
	archive := tar.NewReader(in)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			p.search(path, in)
			return nil
		}
		if err != nil {
			return err
		}
		// What is sparse may be much larger than the archive. All else is part of it.
		var content io.Reader = archive
		if isSparse(header) {
			content = boundedReader{p, archive}
		}
		p.read(member(path, header.Name), content, depth)
	}
}

func isSparse(header *tar.Header) bool {
	for name := range header.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return header.Typeflag == tar.TypeGNUSparse
}

// member is how a file in an archive is named.
func member(archive, name string) string { return archive + "!" + name }

// unzip searches the files of a zip archive. It has to be read in any order: what is no file is read into memory.
func (p *unpacker) unzip(path string, in io.Reader, depth int) error {
	var archive io.ReaderAt = p.file
	var size int64
	if p.file != nil && depth == 1 {
		info, err := p.file.Stat()
		if err != nil {
			return err
		}
		size = info.Size()
	} else {
		content, err := io.ReadAll(io.LimitReader(in, maxInMemory+1))
		switch {
		case err != nil:
			return err
		case len(content) > maxInMemory:
			return fmt.Errorf("it is larger than %s, and no file of its own: unpack it, and scan what is in it", sizeText(maxInMemory))
		}
		archive, size = bytes.NewReader(content), int64(len(content))
	}
	contents := &boundedTable{in: archive, left: maxInMemory}
	files, err := zip.NewReader(contents, size)
	if err != nil {
		return err
	}
	contents.isRead = true
	for _, file := range files.File {
		if file.FileInfo().IsDir() {
			continue
		}
		if err := p.unzipFile(member(path, file.Name), file, depth); err != nil {
			p.notSearched(member(path, file.Name), err)
		}
	}
	return nil
}

// isEncrypted is the bit of a zip archive's file that says so.
const isEncrypted = 1

func (p *unpacker) unzipFile(path string, file *zip.File, depth int) error {
	if file.Flags&isEncrypted != 0 {
		return errors.New("it is encrypted")
	}
	content, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	p.read(path, boundedReader{p, content}, depth)
	return nil
}

// boundedTable keeps the table of contents of a zip archive from taking much memory: a crafted one may have many millions of entries.
type boundedTable struct {
	in     io.ReaderAt
	left   int64
	isRead bool
}

func (b *boundedTable) ReadAt(into []byte, at int64) (int, error) {
	n, err := b.in.ReadAt(into, at)
	if b.isRead {
		return n, err
	}
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("its table of contents is larger than %s", sizeText(maxInMemory))
	}
	return n, err
}
