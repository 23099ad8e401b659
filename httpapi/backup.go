package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/witan-kv/witan/store"
)

// maxBackups is how many backups are written at once: each keeps a core busy
// and holds some megabytes, and all of them would hold the disk's space.
const maxBackups = 2

// backupType is what a backup is to those who know nothing of us: `zstd -d`
// unpacks it.
const backupType = "application/zstd"

// handleBackup streams a backup of the whole cluster. Once it has begun, all
// that can be done about an error is to break the connection, which a client
// can tell from the end.
func (s *Server) handleBackup(w http.ResponseWriter, r *http.Request) {
	select {
	case s.backups <- struct{}{}:
		defer func() { <-s.backups }()
	default:
		w.Header().Set("Retry-After", "60")
		writeMessage(w, http.StatusServiceUnavailable, fmt.Sprintf("%d backups of this member are being made already; try another member, or again later", maxBackups))
		return
	}
	h := w.Header()
	h[headerClusterID] = s.clusterID
	b, err := s.backend.OpenBackup(r.Context())
	if err != nil {
		s.writeError(w, err)
		return
	}
	defer b.Close()
	info := b.Info()
	h.Set(headerIndex, strconv.FormatUint(info.Index, 10))
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", backupName(info)))
	h.Set(headerContentType, backupType)
	begun := time.Now()
	out := &backupWriter{w: w, client: http.NewResponseController(w)}
	if err := b.WriteTo(out, r.Context().Done()); err != nil {
		if out.written == 0 {
			h.Del("Content-Disposition")
			s.writeError(w, err)
			return
		}
		if !errors.Is(err, store.ErrStopped) { // the client's own going away is no news
			s.log.Warn().Err(err).Uint64("index", info.Index).Msg("a backup was broken off")
		}
		panic(http.ErrAbortHandler)
	}
	s.log.Info().Uint64("index", info.Index).Int64("bytes", out.written).Dur("took", time.Since(begun)).Msg("a backup was served")
}

// backupName is what a backup is called when nobody says otherwise.
func backupName(info store.BackupInfo) string {
	return fmt.Sprintf("witan-%x-%d.wbk", info.ClusterID, info.Index)
}

// backupWriter writes in pieces, and gives up a client that does not take one.
type backupWriter struct {
	w       io.Writer
	client  *http.ResponseController
	written int64
}

func (b *backupWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), writeChunk)
		_ = b.client.SetWriteDeadline(time.Now().Add(writeTimeout))
		n, err := b.w.Write(rest[:n])
		b.written += int64(n)
		if err != nil {
			return len(p) - len(rest) + n, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
