package main

import "strings"

// nearest returns the candidate that word is most likely a slip of: one of
// every three letters may be wrong, missing, too many or in its neighbour's
// place. It returns "" if none is that near.
func nearest(word string, candidates []string) string {
	word = plain(word)
	best, most := "", max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(word, plain(c)); d <= most {
			best, most = c, d-1 // from here on only what is nearer
		}
	}
	return best
}

// plain makes "Listen_Peer_URLs" and "listen-peer-urls" the same.
func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// didYouMean returns the end of a message about something unknown.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + name + "?"
}

// distance counts the slips that make b of a: letters changed, left out, put in
// or swapped with their neighbours.
func distance(a, b string) int {
	// Rows of the usual table: what the first i bytes of a cost to become the
	// first j of b, for this i and the two before.
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
