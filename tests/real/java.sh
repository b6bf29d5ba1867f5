#!/bin/bash
# java: compile, threads, processes, files, sockets, the collector, a null pointer (which is a signal inside).
# needs: javac default-jdk-headless
# patches: java
# alone: stone
# timeout: 100
exec 2>&1
cat > A.java <<'J'
import java.io.*; import java.net.*; import java.nio.file.*; import java.util.*; import java.util.concurrent.*; import java.util.stream.*;
public class A {
  static String s; int field;
  public static void main(String[] a) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8); List<Future<Long>> f = new ArrayList<>();
    for (int i = 0; i < 50; i++) { final int n = i; f.add(pool.submit(() -> LongStream.range(0, 100000).map(x -> x * n).sum())); }
    long t = 0; for (Future<Long> x : f) t += x.get(); System.out.println(t);
    int npe = 0; for (int i = 0; i < 20000; i++) try { A o = i % 2 == 0 ? null : new A(); npe += o.field; } catch (NullPointerException e) { npe++; } System.out.println(npe);
    try { deep(0); } catch (StackOverflowError e) { System.out.println("overflow"); }
    Process p = new ProcessBuilder("sh", "-c", "echo from child; exit 6").start(); System.out.println(new String(p.getInputStream().readAllBytes()).trim() + p.waitFor());
    ServerSocket server = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
    pool.submit(() -> { for (int i = 0; i < 10; i++) try (Socket c = server.accept()) { c.getOutputStream().write(("n" + i).getBytes()); } return 0; });
    StringBuilder b = new StringBuilder(); for (int i = 0; i < 10; i++) try (Socket c = new Socket(server.getInetAddress(), server.getLocalPort())) { b.append(new String(c.getInputStream().readAllBytes())); } System.out.println(b);
    List<byte[]> garbage = new ArrayList<>(); for (int i = 0; i < 20000; i++) { garbage.add(new byte[10000]); if (garbage.size() > 100) garbage.clear(); } System.gc();
    Files.writeString(Path.of("f"), "text"); System.out.println(Files.readString(Path.of("f")) + Files.list(Path.of(".")).count() + new File("/nonexistent").exists());
    Thread th = new Thread(() -> { try { Thread.sleep(100000); } catch (InterruptedException e) { System.out.println("interrupted"); } }); th.start(); Thread.sleep(50); th.interrupt(); th.join();
    pool.shutdown(); System.exit(8);
  }
  static int deep(int i) { return deep(i + 1) + 1; }
}
J
javac A.java; echo $?; java -Xmx128m A; echo $?; java -XX:+UseSerialGC -Xint -Xmx128m A; echo $?
