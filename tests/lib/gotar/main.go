// gotar DIR prints the diff id of the layer tar that Go's archive/tar writes for a directory in
// overlay form: the oracle for the bytes of our own writer.
package main

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func attributes(path string) map[string]string {
	out := map[string]string{}
	names := make([]byte, 1<<16)
	n, err := syscall.Listxattr(path, names)
	if err != nil {
		return out
	}
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name != "security.capability" && !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 1<<16)
		if m, err := syscall.Getxattr(path, name, value); err == nil {
			out["SCHILY.xattr."+name] = string(value[:m])
		}
	}
	return out
}

func header(path, rel string, fi os.FileInfo, first map[uint64]string) (*tar.Header, error) {
	st := fi.Sys().(*syscall.Stat_t)
	if fi.Mode()&os.ModeCharDevice != 0 && st.Rdev == 0 {
		dir, base := filepath.Split(rel)
		return &tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + base}, nil
	}
	link, _ := os.Readlink(path)
	h, err := tar.FileInfoHeader(fi, link)
	if err != nil {
		return nil, err
	}
	h.Uname, h.Gname = "", ""
	h.Format = tar.FormatPAX
	h.ModTime = h.ModTime.Truncate(time.Second)
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	h.Name = rel
	if fi.IsDir() {
		h.Name += "/"
	} else if st.Nlink > 1 {
		if to, ok := first[st.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, to, 0
		} else {
			first[st.Ino] = rel
		}
	}
	if fi.IsDir() || fi.Mode().IsRegular() {
		h.PAXRecords = attributes(path)
	}
	return h, nil
}

func main() {
	root, sum, first := os.Args[1], sha256.New(), map[uint64]string{}
	w := tar.NewWriter(sum)
	err := filepath.Walk(root, func(path string, fi os.FileInfo, err error) error {
		rel, _ := filepath.Rel(root, path)
		if err != nil || rel == "." || fi.Mode()&os.ModeSocket != 0 {
			return err
		}
		h, err := header(path, rel, fi, first)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg || h.Size == 0 {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("sha256:%x\n", sum.Sum(nil))
}
