// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"dgbot.io/key-operator/internal/cli/search"
)

const (
	// headSize is how much of a file says what it is: the first header of a tar archive.
	headSize = 512
	// maxPacked is how deep archives in archives are searched.
	maxPacked = 4
	// maxInMemory bounds a zip archive that cannot be read in any order, and the table of contents of one that can.
	maxInMemory = 32 << 20
)

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
	f := formatOf(path, head)
	if f == nil && depth == 0 && p.endsInZip() {
		f = &zipFormat
	}
	switch {
	case f == nil:
		p.search(path, buffered)
		return
	case f.unpack == nil:
		p.notSearched(path, fmt.Errorf("%s: %s", f.name, cmp.Or(f.advice, unpackAdvice)))
	case depth == maxPacked:
		p.notSearched(path, fmt.Errorf("%s in more than %d others: %s", f.name, maxPacked, unpackAdvice))
	default:
		err := f.unpack(p, path, buffered, depth+1)
		if err == nil {
			return
		}
		p.notSearched(path, fmt.Errorf("%s: %w", f.name, err))
	}
	// Something may stand in it as it is, and it may not be what it looks like.
	p.searchPlain(path, buffered, 0)
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

// search searches in as it is, and lists the archives that stand in it behind something else.
func (p *unpacker) search(path string, in io.Reader) {
	embedded := &embeddedReader{in: in}
	p.searchPlain(path, embedded, 0)
	for _, name := range embedded.names {
		p.notSearched(path, fmt.Errorf("it has an archive in it, %s: %s", name, unpackAdvice))
	}
}

// searchPlain searches in, which is the part of a file from an offset on, as it is.
func (p *unpacker) searchPlain(path string, in io.Reader, from int64) {
	size, err := search.Keys(in, func(m search.Match) {
		if m.Offset += from; from > 0 {
			m.Line, m.Column = 0, 0
		}
		p.found(path, m)
	})
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

// inflate searches a zlib stream, and what comes behind its end, such as the next stream.
func (p *unpacker) inflate(path string, in io.Reader, depth int) error {
	unpacked, err := zlib.NewReader(in)
	if err != nil {
		return err
	}
	p.read(path, boundedReader{p, unpacked}, depth)
	p.read(path, in, depth)
	return nil
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

// member is how a file in an archive is named.
func member(archive, name string) string { return archive + "!" + name }

// endsInZip reports whether a zip archive stands at the end of the file.
func (p *unpacker) endsInZip() bool {
	if p.file == nil {
		return false
	}
	info, err := p.file.Stat()
	if err != nil {
		return false
	}
	begin := max(0, info.Size()-maxZipEnd)
	end := &embeddedReader{in: io.NewSectionReader(p.file, begin, maxZipEnd), at: begin}
	_, err = io.Copy(io.Discard, end)
	return err == nil && slices.Contains(end.names, zipFormat.name)
}

// unzip searches the files of a zip archive, and what stands in front of them and behind them. A zip archive has to be read in any order:
// what is no file is read into memory.
func (p *unpacker) unzip(path string, in io.Reader, depth int) error {
	if p.file != nil && depth == 1 {
		info, err := p.file.Stat()
		if err != nil {
			return err
		}
		return p.unzipAt(path, p.file, info.Size(), depth)
	}
	content, err := io.ReadAll(io.LimitReader(in, maxInMemory+1))
	switch {
	case err != nil:
	case len(content) > maxInMemory:
		err = fmt.Errorf("it is larger than %s, and no file of its own: %s", sizeText(maxInMemory), unpackAdvice)
	default:
		err = p.unzipAt(path, bytes.NewReader(content), int64(len(content)), depth)
	}
	if err != nil {
		// What follows is searched by the caller.
		p.searchPlain(path, bytes.NewReader(content), 0)
	}
	return err
}

func (p *unpacker) unzipAt(path string, archive io.ReaderAt, size int64, depth int) error {
	contents := &boundedTable{in: archive, left: maxInMemory}
	files, err := zip.NewReader(contents, size)
	if err != nil {
		return err
	}
	contents.isRead = true
	begin, end := size, int64(0) // of the files
	for _, file := range files.File {
		if from, err := file.DataOffset(); err == nil {
			begin, end = min(begin, from), max(end, from+int64(min(file.CompressedSize64, uint64(size)))) //nolint:gosec // bounded by size
		}
		if file.FileInfo().IsDir() {
			continue
		}
		if err := p.unzipFile(member(path, file.Name), file, depth); err != nil {
			p.notSearched(member(path, file.Name), err)
		}
	}
	end = min(size, max(begin, end))
	// A program or a script stands in front of the files, comments and the table of contents behind them.
	p.search(path, io.NewSectionReader(archive, 0, begin))
	p.searchPlain(path, io.NewSectionReader(archive, end, size-end), end)
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
