// soci-read ZTOC LAYER TAR: reads a layer through its zTOC with soci-snapshotter's own library and
// compares with the tar: every span's digest and bytes, every file as ExtractFile gives it.
// soci-read --build LAYER ALGORITHM SPAN TOOL OUT: writes the library's zTOC of a layer.
// soci-read --convert …: see convert.go.
package main

import (
	"bytes"
	_ "crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"
	"github.com/opencontainers/go-digest"
)

func must(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func check(ok bool, format string, args ...any) {
	if !ok {
		must(fmt.Errorf(format, args...), "soci-read")
	}
}

func build(args []string) {
	span, err := strconv.ParseInt(args[2], 10, 64)
	must(err, "span")
	z, err := ztoc.NewBuilder(args[3]).BuildZtoc(args[0], span, ztoc.WithCompression(args[1]))
	must(err, "build")
	r, _, err := ztoc.Marshal(z)
	must(err, "marshal")
	data, err := io.ReadAll(r)
	must(err, "read")
	must(os.WriteFile(args[4], data, 0o644), "write")
}

func main() {
	if len(os.Args) == 7 && os.Args[1] == "--build" {
		build(os.Args[2:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "--convert" {
		convert(os.Args[2:])
		return
	}
	check(len(os.Args) == 4, "usage: soci-read ZTOC LAYER TAR")
	data, err := os.ReadFile(os.Args[1])
	must(err, "ztoc")
	layer, err := os.ReadFile(os.Args[2])
	must(err, "layer")
	tar, err := os.ReadFile(os.Args[3])
	must(err, "tar")
	z, err := ztoc.Unmarshal(bytes.NewReader(data))
	must(err, "unmarshal")
	info, err := z.Zinfo()
	must(err, "zinfo")
	defer info.Close()

	check(int64(z.CompressedArchiveSize) == int64(len(layer)), "size %d, layer %d", z.CompressedArchiveSize, len(layer))
	end := compression.Offset(len(layer))
	for i := compression.SpanID(0); i <= z.MaxSpanID; i++ {
		from, to := info.StartCompressedOffset(i), info.EndCompressedOffset(i, end)
		got := digest.FromBytes(layer[from:to])
		check(got == z.SpanDigests[i], "span %d: digest %s, recorded %s", i, got, z.SpanDigests[i])
		a := info.StartUncompressedOffset(i)
		b := info.EndUncompressedOffset(i, compression.Offset(len(tar)))
		if b > compression.Offset(len(tar)) {
			b = compression.Offset(len(tar))
		}
		text, err := info.ExtractDataFromBuffer(layer[from:to], b-a, a, i)
		must(err, fmt.Sprintf("span %d", i))
		check(bytes.Equal(text, tar[a:b]), "span %d: other bytes than the tar", i)
	}
	files := 0
	for _, f := range z.FileMetadata {
		if f.Type != "reg" {
			continue
		}
		got, err := z.ExtractFile(io.NewSectionReader(bytes.NewReader(layer), 0, int64(len(layer))), f.Name)
		must(err, f.Name)
		// Of several entries with one name, ExtractFile takes the first.
		for _, g := range z.FileMetadata {
			if g.Name == f.Name {
				f = g
				break
			}
		}
		want := tar[f.UncompressedOffset : f.UncompressedOffset+f.UncompressedSize]
		check(bytes.Equal(got, want), "%s: other bytes than the tar", f.Name)
		files++
	}
	fmt.Printf("%d spans, %d entries, %d files\n", int(z.MaxSpanID)+1, len(z.FileMetadata), files)
}
