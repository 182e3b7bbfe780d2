package com.ltvstream.peers.streams;

import java.util.Map;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;

/**
 * RocksDB of each store. What Kafka Streams chooses is kept where it is good: no compression,
 * Bloom filters, universal compaction, no log of its own.
 */
public final class RocksSettings implements RocksDBConfigSetter {
    private static final long MEBIBYTE = 1 << 20;

    private Cache cache;

    @Override
    public void setConfig(String storeName, Options options, Map<String, Object> configs) {
        // A customer's value is written anew with each event; a larger buffer than the default of
        // 16 MiB drops more of the old ones before they reach a file, and leaves less to compact.
        options.setWriteBufferSize(64 * MEBIBYTE);
        // Room for the customers that the cache of the store let go; by default 50 MiB. It fills as
        // it is used, so a small store takes little of it.
        cache = new LRUCache(128 * MEBIBYTE);
        ((BlockBasedTableConfig) options.tableFormatConfig()).setBlockCache(cache);
    }

    @Override
    public void close(String storeName, Options options) {
        cache.close();
    }
}
